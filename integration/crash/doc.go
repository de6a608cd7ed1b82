// Package crash ends mounts by SIGKILL, at every request that an operation
// sends and at random moments, mounts again, and compares what is there with
// what was acknowledged: whatever close, fsync, rename and their like returned
// 0 for is there byte for byte, every name holds a whole old or a whole new
// content, and nothing is left behind but what the documents name.
//
// What is tried is a Scenario: steps of one program, each with what the tree
// holds once it has returned 0. It runs on a directory of its own for every
// request at which the mount dies. The mount that dies next is the one that
// recovers from the crash before, and the last one, which nobody ends, reads
// the directories of all.
package crash
