package s3

import (
	"cmp"
	"crypto/md5"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// maxXML bounds the documents that clients send.
const maxXML = 10 << 20

// sums are the checksum elements of XML documents.
type sums struct {
	ChecksumCRC32     string `xml:",omitempty"`
	ChecksumCRC32C    string `xml:",omitempty"`
	ChecksumCRC64NVME string `xml:",omitempty"`
	ChecksumSHA1      string `xml:",omitempty"`
	ChecksumSHA256    string `xml:",omitempty"`
	ChecksumType      string `xml:",omitempty"`
}

// sumsOf puts a checksum into its element.
func sumsOf(c checksum) sums {
	s := sums{ChecksumType: c.Type}
	if value := s.value(c.Algorithm); value != nil {
		*value = c.Value
	}
	return s
}

func (s *sums) value(algorithm string) *string {
	switch algorithm {
	case "CRC32":
		return &s.ChecksumCRC32
	case "CRC32C":
		return &s.ChecksumCRC32C
	case "CRC64NVME":
		return &s.ChecksumCRC64NVME
	case "SHA1":
		return &s.ChecksumSHA1
	case "SHA256":
		return &s.ChecksumSHA256
	}
	return nil
}

// A completion is the body of CompleteMultipartUpload.
type completion struct {
	Parts []completedPart `xml:"Part"`
}

type completedPart struct {
	PartNumber int
	ETag       string
	sums
}

// completeMultipartUpload makes an object of the parts of an upload, without moving a byte of them.
func (s *Server) completeMultipartUpload(w http.ResponseWriter, r *request) error {
	var body completion
	if err := readXML(r.Body, &body); err != nil || len(body.Parts) == 0 {
		return malformedXML()
	}
	if _, _, err := s.openUpload(r); err != nil { // S3 needs the right to decrypt for this
		return err
	}
	v, err := s.publish(r, func(b *bucket) (*version, []change, error) {
		u, err := b.upload(r)
		if err != nil {
			return nil, nil, err
		}
		v, err := u.complete(r, body.Parts)
		if err != nil {
			return nil, nil, err
		}
		return v, []change{{Bucket: r.Bucket, End: &endUpload{Upload: u.ID, Taken: v.Content.blobs()}}}, nil
	})
	if err = s.dropOvertaken(r, err); err != nil {
		return err
	}
	s.setVersion(w.Header(), "X-Amz-Version-Id", v, r.Bucket)
	v.Seal.echo(w.Header())
	return writeXML(w, struct {
		XMLName               xml.Name `xml:"CompleteMultipartUploadResult"`
		Xmlns                 string   `xml:"xmlns,attr"`
		Location, Bucket, Key string
		ETag                  string
		sums
	}{Xmlns: namespace, Location: location(r), Bucket: r.Bucket, Key: r.Key, ETag: quoted(v.ETag), sums: sumsOf(v.Checksum)})
}

// complete returns the object that the listed parts make.
func (u *upload) complete(r *request, listed []completedPart) (*version, error) {
	v := &version{attributes: u.attributes, Key: u.Key, Seal: u.Seal, Multipart: true, Content: &content{}}
	if !slices.IsSortedFunc(listed, func(a, b completedPart) int { return cmp.Or(a.PartNumber-b.PartNumber, -1) }) {
		return nil, invalidPartOrder(u.ID)
	}
	digest := md5.New()
	for i, want := range listed {
		p, ok := u.Parts[want.PartNumber]
		if !ok || strings.Trim(want.ETag, `"`) != p.ETag {
			return nil, invalidPart(want.PartNumber, want.ETag)
		}
		if err := u.checkPart(want, p); err != nil {
			return nil, err
		}
		if i < len(listed)-1 && p.Size < minPart {
			return nil, tooSmall(p)
		}
		raw, _ := hex.DecodeString(p.ETag) // all ETags of parts are ours, and hexadecimal
		digest.Write(raw)
		v.Size += p.Size
		v.Content.Parts = append(v.Content.Parts, p)
	}
	v.ETag = newID()
	if u.Seal.Algorithm == sseS3 {
		v.ETag = hex.EncodeToString(digest.Sum(nil))
	}
	v.ETag += fmt.Sprintf("-%d", len(listed))
	v.Checksum = u.Sum
	if u.Sum.Algorithm == "" {
		v.Checksum = checksum{Algorithm: defaultChecksum, Type: fullObject}
	}
	v.Checksum = ofParts(v.Checksum, v.Content.Parts)
	return v, u.checkWhole(r.Header, v)
}

// checkPart compares a part with the checksum that the client lists for it, which composite ones demand.
func (u *upload) checkPart(want completedPart, p part) error {
	value := want.value(u.algorithm())
	switch {
	case *value == "" && u.Sum.Type == composite:
		return invalidRequest("The upload was created using a %s checksum. The complete request must include the checksum for each part. It was missing for part %d in the request.", strings.ToLower(u.Sum.Algorithm), p.Number)
	case *value != "" && *value != ofObject(u.algorithm(), p.Checksum).Value:
		return invalidPart(want.PartNumber, want.ETag)
	}
	return nil
}

// checkWhole compares the object with what the headers say of it.
func (u *upload) checkWhole(h http.Header, v *version) error {
	if size := h.Get("X-Amz-Mp-Object-Size"); size != "" && size != strconv.FormatInt(v.Size, 10) {
		return invalidRequest("The provided 'x-amz-mp-object-size' header value does not match what was computed.")
	}
	if kind := h.Get(checksumPrefix + "Type"); kind != "" && u.Sum.Algorithm != "" && kind != v.Checksum.Type {
		return invalidRequest("The upload was created using the %s checksum mode. The complete request must use the same checksum mode.", v.Checksum.Type)
	}
	if value := h.Get(checksumPrefix + v.Checksum.Algorithm); value != "" && value != v.Checksum.Value {
		return badDigest(v.Checksum.Algorithm)
	}
	return nil
}

// readXML decodes a document.
func readXML(body io.Reader, into any) error {
	text, err := io.ReadAll(io.LimitReader(body, maxXML))
	if err != nil {
		return err
	}
	return xml.Unmarshal(text, into)
}

// location is the URL of the object as the client wrote it.
func location(r *request) string {
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	return scheme + "://" + r.Host + r.URL.EscapedPath()
}
