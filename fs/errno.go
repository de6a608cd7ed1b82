package fs

import (
	"context"
	"errors"
	"syscall"

	"github.com/kmsfs/kmsfs/s3io"
)

// fault is a condition that this package itself found. It is the only error
// type whose errno is taken as it is: what comes from below is mapped by kind.
type fault struct {
	errno syscall.Errno
	why   string
}

// Error says what is wrong.
func (e *fault) Error() string { return e.why }

// errDying ends a wait on behalf of a caller that is being killed.
var errDying = errors.New("the caller is being killed")

// errnos is the table of docs/SEMANTICS.md. Kinds that it lacks are EIO.
var errnos = map[s3io.Kind]syscall.Errno{
	s3io.NotExist:       syscall.ENOENT,
	s3io.Permission:     syscall.EACCES,
	s3io.KeyDisabled:    errnoKeyDisabled,
	s3io.KeyNotFound:    errnoKeyNotFound,
	s3io.KeyRejected:    errnoKeyRejected,
	s3io.Integrity:      syscall.EBADMSG,
	s3io.Stale:          syscall.ESTALE,
	s3io.Exists:         syscall.EEXIST,
	s3io.TooLarge:       syscall.EFBIG,
	s3io.NoSpace:        syscall.ENOSPC,
	s3io.NameTooLong:    syscall.ENAMETOOLONG,
	s3io.ReadOnlyBucket: syscall.EROFS,
	s3io.Timeout:        syscall.ETIMEDOUT,
	s3io.Interrupted:    syscall.EINTR,
	s3io.Unsupported:    syscall.ENOTSUP,
}

// errnoOf is the one place where an error becomes an errno. A commit answers
// EIO where a lookup or read answers ETIMEDOUT, because close(2) and fsync(2)
// know no ETIMEDOUT, and ESTALE where a key that it meant to create exists or
// one that it meant to replace is gone.
func errnoOf(err error, commit bool) syscall.Errno {
	var own *fault
	var theirs *s3io.Error
	switch {
	case err == nil:
		return 0
	case errors.As(err, &own):
		return own.errno
	case errors.Is(err, errDying):
		return syscall.EINTR
	case errors.As(err, &theirs):
		errno, ok := errnos[theirs.Kind]
		switch {
		case !ok || commit && errno == syscall.ETIMEDOUT:
			return syscall.EIO
		case commit && (errno == syscall.EEXIST || errno == syscall.ENOENT):
			return syscall.ESTALE
		}
		return errno
	case errors.Is(err, context.DeadlineExceeded) && !commit:
		return syscall.ETIMEDOUT
	}
	return syscall.EIO
}
