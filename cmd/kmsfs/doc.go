// Command kmsfs mounts an S3 bucket as a filesystem in which every object is
// provably encrypted under an AWS KMS key, and comes with what is needed to
// set that up, look into it and try it out.
//
// One table of settings (settings.go) drives flags, -o options, KMSFS_*
// variables and the configuration file. Called as mount.kmsfs, the command is
// the helper of mount(8).
//
// # Exit status
//
// 0 on success, 1 on failure, 2 on wrong usage; as mount.kmsfs those of
// mount(8): 32 on failure, 1 on wrong usage. An error is one sentence on
// standard error that ends with the remedy.
package main
