package s3

import (
	"encoding/xml"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/kmsfs/kmsfs/internal/sandbox/wire"
)

const (
	// maxParts and minPart are the limits of https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html
	maxParts = 10_000
	minPart  = 5 << 20

	namespace = "http://s3.amazonaws.com/doc/2006-03-01/"
)

// createMultipartUpload begins an upload. Its data key serves all of its parts.
func (s *Server) createMultipartUpload(w http.ResponseWriter, r *request) error {
	a, err := s.attributes(r)
	if err != nil {
		return err
	}
	sum, err := uploadChecksum(r.Header)
	if err != nil {
		return err
	}
	sealed, _, err := s.encryption(r)
	if err != nil {
		return err
	}
	u := &upload{attributes: a, ID: newID(), Key: r.Key, Initiator: r.caller.ARN, Started: s.opts.Now().UTC(), Seal: sealed, Sum: sum}
	err = s.store.update(r.Bucket, func(*bucket) ([]change, error) { return []change{{Bucket: r.Bucket, Begin: u}}, nil })
	if err != nil {
		return err
	}
	s.inspect(r)
	sealed.created(w.Header())
	if sum.Algorithm != "" {
		w.Header().Set(checksumPrefix+"Algorithm", sum.Algorithm)
		w.Header().Set(checksumPrefix+"Type", sum.Type)
	}
	return writeXML(w, struct {
		XMLName               xml.Name `xml:"InitiateMultipartUploadResult"`
		Xmlns                 string   `xml:"xmlns,attr"`
		Bucket, Key, UploadId string
	}{Xmlns: namespace, Bucket: r.Bucket, Key: r.Key, UploadId: u.ID})
}

// uploadChecksum reads which checksum the whole object is to have.
func uploadChecksum(h http.Header) (checksum, error) {
	c := checksum{Algorithm: strings.ToUpper(h.Get(checksumPrefix + "Algorithm")), Type: strings.ToUpper(h.Get(checksumPrefix + "Type"))}
	switch {
	case c.Algorithm == "" && c.Type != "":
		return c, invalidRequest("The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm header.")
	case c.Algorithm == "":
		return c, nil
	case newHash(c.Algorithm) == nil:
		return c, invalidRequest("Checksum algorithm provided is unsupported. Please try again with any of the valid types: [CRC32, CRC32C, CRC64NVME, SHA1, SHA256]")
	case c.Type == "":
		if c.Type = composite; c.Algorithm == "CRC64NVME" {
			c.Type = fullObject
		}
	case c.Type != composite && c.Type != fullObject:
		return c, invalidRequest("Value for x-amz-checksum-type header is invalid.")
	}
	if sha := strings.HasPrefix(c.Algorithm, "SHA"); sha && c.Type == fullObject || c.Algorithm == "CRC64NVME" && c.Type == composite {
		return c, invalidRequest("The %s checksum type cannot be used with the %s checksum algorithm.", c.Type, strings.ToLower(c.Algorithm))
	}
	return c, nil
}

// upload finds the upload that the query names. Its Parts may only be looked at inside of store.view.
func (b *bucket) upload(r *request) (*upload, error) {
	id := r.query.Get("uploadId")
	if u := b.uploads[id]; u != nil && u.Key == r.Key {
		return u, nil
	}
	return nil, noSuchUpload(id)
}

// openUpload finds the upload, and has KMS open its data key.
func (s *Server) openUpload(r *request) (u *upload, key []byte, err error) {
	err = s.store.view(r.Bucket, func(b *bucket) error { u, err = b.upload(r); return err })
	if err != nil {
		return nil, nil, err
	}
	if err := s.secure(r, u.Seal.Algorithm); err != nil {
		return nil, nil, err
	}
	key, err = s.keys.open(r.Context(), u.Seal)
	return u, key, err
}

// uploadPart stores a body as a part.
func (s *Server) uploadPart(w http.ResponseWriter, r *request) error {
	n, err := partNumber(r)
	if err != nil {
		return err
	}
	sum, err := claimed(r.Header)
	if err != nil {
		return err
	}
	u, key, err := s.openUpload(r)
	if err != nil {
		return err
	}
	if sum.made && u.Sum.Algorithm != "" && sum.algorithm != u.Sum.Algorithm {
		return invalidRequest("Checksum Type mismatch occurred, expected checksum Type: %s, actual checksum Type: %s", strings.ToLower(u.Sum.Algorithm), strings.ToLower(sum.algorithm))
	}
	if !sum.made {
		sum.algorithm = u.algorithm()
	}
	p, err := s.receive(r, u.Seal, key, u.algorithm(), sum)
	if err != nil {
		return err
	}
	if p, err = s.addPart(r, n, p); err != nil {
		return err
	}
	u.Seal.echo(w.Header())
	if sum.algorithm == u.algorithm() && (sum.made || u.Sum.Algorithm != "") {
		w.Header().Set(checksumPrefix+sum.algorithm, ofObject(sum.algorithm, p.Checksum).Value)
	}
	w.Header().Set("ETag", quoted(p.ETag))
	return nil
}

// uploadPartCopy stores a range of an object as a part.
func (s *Server) uploadPartCopy(w http.ResponseWriter, r *request) error {
	n, err := partNumber(r)
	if err != nil {
		return err
	}
	src, err := s.source(w, r)
	if err != nil {
		return err
	}
	defer src.release()
	off, length, err := copyRange(r, src.Size)
	if err != nil {
		return err
	}
	if length > maxPut {
		return invalidRequest("The specified copy source is larger than the maximum allowable size for a copy source: %d", int64(maxPut))
	}
	u, key, err := s.openUpload(r)
	if err != nil {
		return err
	}
	p, err := s.writeCopy(r, src, off, length, u.Seal, key, u.algorithm())
	if err != nil {
		return err
	}
	if p, err = s.addPart(r, n, p); err != nil {
		return err
	}
	u.Seal.echo(w.Header())
	return writeXML(w, copyResult{XMLName: xml.Name{Local: "CopyPartResult"}, Xmlns: namespace, LastModified: iso(p.Modified), ETag: quoted(p.ETag), sums: u.partSums(p)})
}

// addPart adds p to its upload, or drops it if that has ended meanwhile.
func (s *Server) addPart(r *request, n int, p part) (part, error) {
	p.Number = n
	err := s.store.update(r.Bucket, func(b *bucket) ([]change, error) {
		u, err := b.upload(r)
		if err != nil {
			return nil, err
		}
		return []change{{Bucket: r.Bucket, Part: &uploadPart{u.ID, p}}}, nil
	})
	if err != nil {
		s.store.sweep([]string{p.Blob})
	}
	return p, err
}

func partNumber(r *request) (int, error) {
	text := r.query.Get("partNumber")
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > maxParts {
		return 0, invalidArgument("partNumber", text, "Part number must be an integer between 1 and 10000, inclusive")
	}
	return n, nil
}

// abortMultipartUpload drops an upload and its parts.
func (s *Server) abortMultipartUpload(w http.ResponseWriter, r *request) error {
	err := s.store.update(r.Bucket, func(b *bucket) ([]change, error) {
		u, err := b.upload(r)
		if err != nil {
			return nil, err
		}
		return []change{{Bucket: r.Bucket, End: &endUpload{Upload: u.ID}}}, nil
	})
	if err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// sorted returns the parts of an upload in order. The caller must be inside of store.view.
func (u *upload) sorted() []part {
	parts := make([]part, 0, len(u.Parts))
	for _, p := range u.Parts {
		parts = append(parts, p)
	}
	slices.SortFunc(parts, func(a, b part) int { return a.Number - b.Number })
	return parts
}

// partSums are the checksum elements of a part, which it has if the upload names an algorithm.
func (u *upload) partSums(p part) sums {
	if u.Sum.Algorithm == "" {
		return sums{}
	}
	return sumsOf(checksum{Algorithm: u.Sum.Algorithm, Value: ofObject(u.Sum.Algorithm, p.Checksum).Value})
}

// tooSmall refuses a part that is not the last one of its object.
func tooSmall(p part) *wire.Error {
	return with(wire.Errorf(400, "EntityTooSmall", "Your proposed upload is smaller than the minimum allowed size"),
		"ProposedSize", strconv.FormatInt(p.Size, 10), "MinSizeAllowed", strconv.Itoa(minPart), "PartNumber", strconv.Itoa(p.Number), "ETag", p.ETag)
}
