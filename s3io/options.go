package s3io

import (
	"log/slog"
	"time"
)

// Options says which bucket to connect to, under which encryption policy, and
// with what resources. The zero value of every field but Bucket is a safe
// default; Open validates the rest and names the flag to change.
type Options struct {
	Bucket string // bucket name or access point ARN
	Prefix string // key prefix that becomes the root; "" or ends in "/"

	Policy   Policy    // encryption that every created object must carry
	Envelope *Envelope // how content is sealed before it leaves; nil is not at all

	Require     Requirement // what becomes of reads of objects that are not under the policy
	AllowKeyIDs []string    // further KMS keys, as S3 uses them, whose objects may be read; see also Envelope

	// Connection. Empty values leave the choice to the SDK's default chain.
	Region              string
	Profile             string
	Endpoint            string // custom S3 endpoint URL
	KMSEndpoint         string // custom KMS endpoint URL
	PathStyle           bool
	CABundle            string // PEM file with further roots
	InsecureHTTP        bool   // allow plain http beyond loopback
	RequestPayer        bool
	ExpectedBucketOwner string
	StorageClass        string // storage class of new objects; "" is the bucket's default

	OnConflict OnConflict // what becomes of changes by others that a commit or a rename meets
	Host       string     // names the copies that ConflictKeep makes; "" is the machine's name

	ReadOnly bool // never sends a request that creates, changes or deletes

	// Resources.
	Memory         int64         // bytes for all write and read buffers together; 0 is DefaultMemory
	MaxConnections int           // concurrent requests; 0 is DefaultConnections
	PartSize       int64         // bytes of every part; 0 follows the schedule of partSize
	ReadAhead      int64         // largest read-ahead window in bytes; 0 follows Memory, <0 is off
	SpoolDir       string        // directory of the sealed spool; "" is os.TempDir()
	SpoolSize      int64         // bytes the spool may hold; 0 is DefaultSpoolSize
	StateDir       string        // where identity and upload journal live; "" keeps neither
	TimeoutScale   float64       // multiplies every deadline; 0 is 1
	LookupTimeout  time.Duration // tests only: overrides the lookup deadline before scaling
	CommitTimeout  time.Duration // tests only: overrides the commit deadline before scaling

	Log *slog.Logger // nil discards
}

// Defaults of Options.
const (
	DefaultMemory      = 256 << 20
	DefaultConnections = 32
	DefaultSpoolSize   = 16 << 30
)

// Deadlines from shared promises: lookups and reads survive a 60-second
// outage, commits end five minutes after their last progress.
const (
	lookupTimeout = 90 * time.Second
	commitTimeout = 5 * time.Minute
)
