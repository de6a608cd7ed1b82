package fs

import (
	"context"
	"log/slog"
	"time"
)

// Options say how the tree is presented. The zero value is a safe default.
type Options struct {
	FSName string // shown by mount(8) and df(1), such as s3://bucket/prefix

	OwnerOnly    bool // with AllowOther: of the others, only root may enter
	AllowOther   bool // other users may enter; permission bits are enforced by the kernel in any case
	ReadOnly     bool
	CachedWrites bool // leave direct I/O off on write-only opens: slower, for comparison

	// What objects without POSIX metadata are shown with.
	UID, GID uint32
	FileMode uint32 // 0 is 0644
	DirMode  uint32 // 0 is 0755
	Umask    uint32 // taken off both

	// PosixAttrs keeps mode, owner and times in user metadata, with the names
	// that s3fs uses, and reads them at the price of a HEAD per new object.
	PosixAttrs bool

	NoXattrs bool // extended attributes are neither kept nor shown

	// StrictExcl decides O_CREAT with O_EXCL at open, by a request, also among
	// hosts. Else a file that another host made meanwhile is told at close.
	StrictExcl bool

	// AttrTTL is how long names and attributes may be answered from memory,
	// here and in the kernel; 0 asks S3 every time.
	AttrTTL time.Duration

	// Keep is called with what cannot be saved and nobody is going to be told of, and
	// during and after DrainAndKeep with all that cannot be saved. It returns where
	// the content is then, as people are told, and why not all of it; nil keeps
	// nothing.
	Keep func(ctx context.Context, u Unsaved) (where string, err error) `json:"-"`

	MostNodes int // tests only: files and directories that the kernel may remember; 0 is mostNodes

	Log *slog.Logger // nil discards
}

func (o Options) withDefaults() Options {
	if o.FileMode == 0 {
		o.FileMode = 0644
	}
	if o.DirMode == 0 {
		o.DirMode = 0755
	}
	if o.MostNodes == 0 {
		o.MostNodes = mostNodes
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o
}

// Fixed limits.
const (
	attrDelay       = 5 * time.Second // attribute changes after close are written this much later
	renameLimit     = 10_000          // objects below a directory that rename copies; more is EXDEV
	rewriteLimit    = 64 << 20        // bytes of a file that rename reads and seals anew; more is EXDEV
	parallel        = 16              // requests of one directory operation side by side
	headsAhead      = 32              // HEADs of one listing side by side
	pageSize        = 1000            // entries of one listing request; S3's maximum
	heldFile        = 256 << 10       // bytes of an unlinked open file that memory keeps
	heldTotal       = 8 << 20         // the same for all of them
	knownObjects    = 20_000          // heads remembered by (key, ETag, time)
	maxLost         = 1000            // removed names that a directory remembers
	maxFailures     = 1000            // lines of Failures
	utimesCopyLimit = 5 << 30         // bytes above which times alone cause no copy before unmount
	settledSize     = 4 << 20         // bytes from which writing no longer moves the modification time; below S3's smallest part
)
