package fs

import "syscall"

const (
	errnoKeyDisabled = syscall.EKEYREVOKED
	errnoKeyNotFound = syscall.ENOKEY
	errnoKeyRejected = syscall.EKEYREJECTED
	errnoNoXattr     = syscall.ENODATA
)
