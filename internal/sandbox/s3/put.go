package s3

import (
	"crypto/md5"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/kmsfs/kmsfs/internal/sandbox/wire"
)

// maxPut is the largest body of PutObject and UploadPart, and the largest source of CopyObject.
const maxPut = 5 << 30

// putObject stores a body as the newest version of its key.
func (s *Server) putObject(w http.ResponseWriter, r *request) error {
	a, err := s.attributes(r)
	if err != nil {
		return err
	}
	sealed, key, err := s.encryption(r)
	if err != nil {
		return err
	}
	sum, err := claimed(r.Header)
	if err != nil {
		return err
	}
	p, err := s.receive(r, sealed, key, sum.algorithm, sum)
	if err != nil {
		return err
	}
	v, err := s.publishPart(r, a, sealed, p, sum.algorithm)
	if err != nil {
		return err
	}
	s.setVersion(w.Header(), "X-Amz-Version-Id", v, r.Bucket)
	v.Seal.created(w.Header())
	v.Checksum.set(w.Header())
	w.Header().Set("ETag", quoted(v.ETag))
	return nil
}

// attributes reads what is stored with the object, and checks the rights that it takes.
func (s *Server) attributes(r *request) (attributes, error) {
	a, err := given(r.Header)
	if err == nil && a.Tags != "" {
		err = s.allowed(r.caller.ARN, "s3:PutObjectTagging", objectARN(r.Bucket, r.Key))
	}
	return a, err
}

// encryption returns how the object that r creates is encrypted, and its data key, for which KMS is asked.
func (s *Server) encryption(r *request) (seal, []byte, error) {
	if v := r.Header.Get("If-None-Match"); v != "" && v != "*" {
		return seal{}, nil, wire.Errorf(501, "NotImplemented", "A header you provided implies functionality that is not implemented")
	}
	var defaults Encryption
	if err := s.store.view(r.Bucket, func(b *bucket) error { defaults = b.Encryption; return nil }); err != nil {
		return seal{}, nil, err
	}
	wanted, err := wished(r.Header, defaults)
	if err != nil {
		return seal{}, nil, err
	}
	if err := s.secure(r, wanted.algorithm); err != nil {
		return seal{}, nil, err
	}
	return s.keys.generate(r.Context(), wanted, r.Bucket, r.Key)
}

// secure refuses plain http for objects under KMS.
func (s *Server) secure(r *request, algorithm string) error {
	if s.opts.RequireTLS && r.TLS == nil && algorithm != sseS3 {
		return invalidArgument(headerSSE, algorithm, "Requests specifying Server Side Encryption with AWS KMS managed keys must be made over a secure connection.")
	}
	return nil
}

// receive stores the body of r as one blob and verifies it by length, Content-MD5 and the checksum that was claimed. The
// checksum of the part is by the algorithm to keep.
func (s *Server) receive(r *request, sealed seal, key []byte, keep string, sum claim) (part, error) {
	if r.ContentLength < 0 {
		return part{}, wire.Errorf(411, "MissingContentLength", "You must provide the Content-Length HTTP header.")
	}
	if r.ContentLength > maxPut {
		return part{}, with(wire.Errorf(400, "EntityTooLarge", "Your proposed upload exceeds the maximum allowed size"), "ProposedSize", fmt.Sprint(r.ContentLength), "MaxSizeAllowed", fmt.Sprint(int64(maxPut)))
	}
	wantMD5 := r.Header.Get("Content-Md5")
	var digest hash.Hash
	if wantMD5 != "" || sealed.Algorithm == sseS3 {
		digest = md5.New()
	}
	body, other := io.Reader(incoming{r.Body}), newHash(sum.algorithm)
	if keep != sum.algorithm {
		body = io.TeeReader(body, other)
	}
	var p part
	var err error
	if s.opts.Discard && r.ContentLength > mostKept {
		p, err = s.discard(body, sealed, keep, digest)
	} else {
		p, err = s.write(body, sealed, key, keep, digest)
	}
	if err != nil {
		return part{}, err
	}
	received := p.Checksum
	if keep != sum.algorithm {
		received = other.Sum(nil)
	}
	switch {
	case p.Size != r.ContentLength:
		err = wire.Errorf(400, "IncompleteBody", "You did not provide the number of bytes specified by the Content-Length HTTP header")
	case wantMD5 != "" && wantMD5 != base64.StdEncoding.EncodeToString(digest.Sum(nil)):
		err = wire.Errorf(400, "BadDigest", "The Content-MD5 you specified did not match what we received.")
	default:
		err = sum.verify(received, r.Trailer)
	}
	if err != nil {
		s.store.sweep([]string{p.Blob})
		return part{}, err
	}
	return p, nil
}

// incoming is a body whose errors are the client's.
type incoming struct{ io.Reader }

func (in incoming) Read(p []byte) (int, error) {
	n, err := in.Reader.Read(p)
	var refused *wire.Error
	if err != nil && err != io.EOF && !errors.As(err, &refused) {
		err = wire.Errorf(400, "IncompleteBody", "The request body terminated unexpectedly: %v", err)
	}
	return n, err
}

// write stores content as one sealed blob. The digest, which may be nil, becomes the ETag where S3 would have it so.
func (s *Server) write(body io.Reader, sealed seal, key []byte, algorithm string, digest hash.Hash) (p part, err error) {
	p = part{Blob: newID(), ETag: newID(), Modified: s.opts.Now()}
	aead, err := newAEAD(key, p.Blob)
	if err != nil {
		return p, err
	}
	blob, err := s.store.blobs.create(p.Blob)
	if err != nil {
		return p, fmt.Errorf("create blob: %w", err)
	}
	sum, out := newHash(algorithm), newSealer(blob, aead)
	_, err = io.Copy(io.MultiWriter(hashes(sum, digest), out), body)
	if err = errors.Join(err, out.Close(), blob.Close()); err != nil {
		s.store.sweep([]string{p.Blob})
		return p, err
	}
	p.Size, p.Checksum = out.size, sum.Sum(nil)
	if digest != nil && sealed.Algorithm == sseS3 {
		p.ETag = hex.EncodeToString(digest.Sum(nil))
	}
	return p, nil
}

// publish makes what build returns the newest version of its key, and carries out the changes that build adds, in one
// transaction, if the request's conditions hold then.
func (s *Server) publish(r *request, build func(*bucket) (*version, []change, error)) (*version, error) {
	var v *version
	err := s.store.update(r.Bucket, func(b *bucket) (changes []change, err error) {
		current := b.current(r.Key)
		if err := s.meetings.check(r); err != nil {
			return nil, err
		}
		if err := writable(r.Header, r.Key, current); err != nil {
			return nil, err
		}
		if v, changes, err = build(b); err != nil {
			return nil, err
		}
		s.stamp(v, b, current)
		return append([]change{{Bucket: r.Bucket, Put: v}}, changes...), nil
	})
	return v, err
}

// publishPart publishes an object that consists of p, or drops p.
func (s *Server) publishPart(r *request, a attributes, sealed seal, p part, algorithm string) (*version, error) {
	v, err := s.publish(r, func(*bucket) (*version, []change, error) {
		return &version{attributes: a, Key: r.Key, ETag: p.ETag, Size: p.Size, Seal: sealed,
			Checksum: ofObject(algorithm, p.Checksum), Content: &content{Parts: []part{p}}}, nil, nil
	})
	if err != nil {
		s.store.sweep([]string{p.Blob})
		return nil, err
	}
	s.inspect(r)
	return v, nil
}

// stamp gives a new version its ID and time.
func (s *Server) stamp(v *version, b *bucket, current *version) {
	v.ID = nullVersion
	if b.Versioning == Enabled {
		v.ID = newID()
	}
	v.Modified = s.opts.Now().UTC()
	if current != nil && v.Modified.Before(current.Modified) { // the clock may be set back, versions keep their order
		v.Modified = current.Modified
	}
}

// setVersion echoes the version ID, which buckets that never were versioned do not.
func (s *Server) setVersion(h http.Header, name string, v *version, bucketName string) {
	_ = s.store.view(bucketName, func(b *bucket) error { // the bucket has gone: so has the version
		if b.Versioning != Unversioned {
			h.Set(name, v.ID)
		}
		return nil
	})
}

// lastModified is a time as headers have it: of a resolution of a second.
func lastModified(t time.Time) string { return t.UTC().Format(http.TimeFormat) }

// atoi parses a bounded number of the query; fallback is for an absent one.
func atoi(r *request, name string, fallback, limit int) (int, error) {
	text := r.query.Get(name)
	if text == "" {
		return fallback, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 {
		return 0, invalidArgument(name, text, "Provided %s not an integer or within integer range", name)
	}
	return min(n, limit), nil
}
