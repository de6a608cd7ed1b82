package fs

import "syscall"

// macOS has no errno for keys.
const (
	errnoKeyDisabled = syscall.EACCES
	errnoKeyNotFound = syscall.EACCES
	errnoKeyRejected = syscall.EACCES
	errnoNoXattr     = syscall.ENOATTR
)
