package kms

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/kmsfs/kmsfs/internal/sandbox/wire"
)

// A key is one KMS key in one region. Its JSON form is what is kept in Dir.
type key struct {
	ARN         string
	Description string
	Spec        string
	Usage       string
	Policy      string
	Managed     bool // by AWS: only S3 may use it
	State       string
	Created     time.Time
	Deletion    time.Time `json:",omitzero"`  // when a pending deletion is carried out
	Primary     string    `json:",omitempty"` // multi-Region: ARN of the primary
	Rotation    rotation  `json:",omitzero"`
	// Backing are the key's generations, oldest first; blobs name the one they are under. Empty unless symmetric.
	Backing []backing
}

// backing is key material. Replicas of a multi-Region key share it.
type backing struct {
	ID  []byte // 32 bytes
	Key []byte // 32 bytes
}

func newBacking() backing {
	b := backing{make([]byte, backingSize), make([]byte, 32)}
	_, _ = rand.Read(b.ID) // never fails: crypto/rand documents it
	_, _ = rand.Read(b.Key)
	return b
}

func (k *key) current() backing { return k.Backing[len(k.Backing)-1] }

// find returns the generation of the key that a blob names.
func (k *key) find(id []byte) (backing, bool) {
	i := slices.IndexFunc(k.Backing, func(b backing) bool { return string(b.ID) == string(id) })
	if i < 0 {
		return backing{}, false
	}
	return k.Backing[i], true
}

func (k *key) id() string      { return k.ARN[strings.LastIndexByte(k.ARN, '/')+1:] }
func (k *key) region() string  { return field(k.ARN, 3) }
func (k *key) account() string { return field(k.ARN, 4) }

// field returns a part of an ARN, arn:aws:SERVICE:REGION:ACCOUNT:RESOURCE, or "".
func field(arn string, i int) string {
	parts := strings.SplitN(arn, ":", 6)
	if len(parts) < 6 {
		return ""
	}
	return parts[i]
}

// newKeyID returns a random key id, as AWS forms them.
func newKeyID(multiRegion bool) string {
	var b [16]byte
	_, _ = rand.Read(b[:])
	if multiRegion {
		return "mrk-" + hex.EncodeToString(b[:])
	}
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80 // UUID version 4
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// usable refuses keys that are not enabled.
func (k *key) usable() *wire.Error {
	switch k.State {
	case stateDisabled:
		return wire.Errorf(400, "DisabledException", "%s is disabled.", k.ARN)
	case statePending:
		return k.pending()
	}
	return nil
}

func (k *key) pending() *wire.Error {
	return wire.Errorf(400, "KMSInvalidStateException", "%s is pending deletion.", k.ARN)
}

// seals refuses keys that cannot be used for op with the algorithm of symmetric keys.
func (k *key) seals(op string) *wire.Error {
	switch {
	case k.Usage != usageEncrypt:
		return wire.Errorf(400, "InvalidKeyUsageException", "%s key usage is %s which is not valid for %s.", k.ARN, k.Usage, op)
	case k.Spec == symmetric:
		return nil
	case strings.HasPrefix(op, "GenerateDataKey"):
		return wire.Errorf(400, "InvalidKeyUsageException", "You cannot generate a data key with an asymmetric CMK")
	}
	return wire.Errorf(400, "InvalidKeyUsageException", "Algorithm SYMMETRIC_DEFAULT is incompatible with key spec %s.", k.Spec)
}

// metadata is KeyMetadata of the API.
type metadata struct {
	AWSAccountId, KeyId, Arn string
	CreationDate             timestamp
	Enabled                  bool
	Description              string
	KeyUsage, KeyState       string
	DeletionDate             *timestamp `json:",omitempty"`
	Origin, KeyManager       string
	CustomerMasterKeySpec    string
	KeySpec                  string
	EncryptionAlgorithms     []string     `json:",omitempty"`
	SigningAlgorithms        []string     `json:",omitempty"`
	MacAlgorithms            []string     `json:",omitempty"`
	KeyAgreementAlgorithms   []string     `json:",omitempty"`
	MultiRegion              bool         `json:"MultiRegion"`
	MultiRegionConfiguration *multiRegion `json:",omitempty"`
	CurrentKeyMaterialId     string       `json:",omitempty"`
}

type multiRegion struct {
	MultiRegionKeyType string
	PrimaryKey         regionKey
	ReplicaKeys        []regionKey
}

type regionKey struct{ Arn, Region string }

// timestamp is a time in the JSON protocols: seconds since 1970 with milliseconds.
type timestamp time.Time

func (t timestamp) MarshalJSON() ([]byte, error) {
	ms := time.Time(t).UnixMilli()
	return fmt.Appendf(nil, "%d.%03d", ms/1000, ms%1000), nil
}

// describe returns the metadata of k. all are the server's keys, among which are k's replicas.
func (k *key) describe(all map[string]*key) metadata {
	a := algorithmsOf(k.Spec, k.Usage)
	m := metadata{
		AWSAccountId: k.account(), KeyId: k.id(), Arn: k.ARN, CreationDate: timestamp(k.Created), Enabled: k.State == stateEnabled,
		Description: k.Description, KeyUsage: k.Usage, KeyState: k.State, Origin: "AWS_KMS", KeyManager: "CUSTOMER",
		CustomerMasterKeySpec: k.Spec, KeySpec: k.Spec, MultiRegion: k.Primary != "",
		EncryptionAlgorithms: a.encryption, SigningAlgorithms: a.signing, MacAlgorithms: a.mac, KeyAgreementAlgorithms: a.agreement,
	}
	if k.Managed {
		m.KeyManager = "AWS"
	}
	if k.State == statePending {
		deletion := timestamp(k.Deletion)
		m.DeletionDate = &deletion
	}
	if len(k.Backing) > 0 {
		m.CurrentKeyMaterialId = hex.EncodeToString(k.current().ID)
	}
	if k.Primary == "" {
		return m
	}
	c := &multiRegion{MultiRegionKeyType: "REPLICA", PrimaryKey: newRegionKey(k.Primary), ReplicaKeys: []regionKey{}}
	if k.Primary == k.ARN {
		c.MultiRegionKeyType = "PRIMARY"
	}
	for arn, other := range all {
		if other.Primary == k.Primary && arn != k.Primary {
			c.ReplicaKeys = append(c.ReplicaKeys, newRegionKey(arn))
		}
	}
	slices.SortFunc(c.ReplicaKeys, func(a, b regionKey) int { return strings.Compare(a.Arn, b.Arn) })
	m.MultiRegionConfiguration = c
	return m
}

func newRegionKey(arn string) regionKey { return regionKey{arn, field(arn, 3)} }
