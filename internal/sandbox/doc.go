// Package sandbox runs an S3 endpoint with the SSE-KMS rules of AWS, and the KMS endpoint that it asks for data keys,
// in this process. It is what `kmsfs demo` and `kmsfs sandbox` start, and the far end of tests, which reach it over
// real HTTP or TLS with the real SDK, and look into it by its log, faults and denials.
//
// A started sandbox has the conventions of the command line: the credentials kmsfs and kmsfs-secret, the region
// us-east-1, the bucket demo, and the keys alias/kmsfs-demo and alias/kmsfs-other. With a directory everything
// survives a restart.
//
// # Limitations
//
// Nothing in it is secret: the credentials are known, and key material lies in its directory. It speaks HTTP/1.1
// only, and one process at a time may use a directory.
package sandbox
