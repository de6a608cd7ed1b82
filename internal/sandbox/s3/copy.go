package s3

import (
	"crypto/md5"
	"encoding/xml"
	"fmt"
	"hash"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/kmsfs/kmsfs/internal/sandbox/wire"
)

const copyPrefix = "X-Amz-Copy-Source-"

// A source is the version that a copy reads.
type source struct {
	*version
	bucket  string
	release func()
}

// source finds what x-amz-copy-source names, if the caller may read it and its conditions hold.
func (s *Server) source(w http.ResponseWriter, r *request) (source, error) {
	header := r.Header.Get("X-Amz-Copy-Source")
	name, query, _ := strings.Cut(header, "?")
	path, err := url.QueryUnescape(strings.TrimPrefix(name, "/"))
	bucketName, key, ok := strings.Cut(path, "/")
	if err != nil || !ok || key == "" {
		return source{}, invalidArgument("x-amz-copy-source", header, "Copy Source must mention the source bucket and key: sourcebucket/sourcekey")
	}
	id, action := strings.TrimPrefix(query, "versionId="), "s3:GetObject"
	if id != "" {
		action = "s3:GetObjectVersion"
	}
	if err := s.allowed(r.caller.ARN, action, objectARN(bucketName, key)); err != nil {
		return source{}, err
	}
	src := source{bucket: bucketName}
	src.version, src.release, err = s.store.acquire(bucketName, func(b *bucket) (*version, error) { return b.readable(key, id, http.Header{}) })
	if err != nil {
		if answer(err).Code == "NoSuchKey" {
			err = s.absent(r, bucketName, err)
		}
		return source{}, err
	}
	if err := s.copyable(r, src); err != nil {
		src.release()
		return source{}, err
	}
	s.setVersion(w.Header(), "X-Amz-Copy-Source-Version-Id", src.version, bucketName)
	return src, nil
}

func (s *Server) copyable(r *request, src source) error {
	if failed, _ := readable(r.Header, copyPrefix, src.version); failed != "" {
		return preconditionFailed(strings.ToLower(copyPrefix) + failed)
	}
	if slices.Contains(archived[:], src.Class) {
		return with(wire.Errorf(403, "InvalidObjectState", "Operation is not valid for the source object's storage class"), "StorageClass", src.Class)
	}
	return s.secure(r, src.Seal.Algorithm)
}

// copyObject stores the content of another object, or of the same, under a policy of its own.
func (s *Server) copyObject(w http.ResponseWriter, r *request) error {
	src, err := s.source(w, r)
	if err != nil {
		return err
	}
	defer src.release()
	if src.Size > maxPut {
		return invalidRequest("The specified copy source is larger than the maximum allowable size for a copy source: %d", int64(maxPut))
	}
	a, err := s.copied(r, src)
	if err != nil {
		return err
	}
	sealed, key, err := s.encryption(r)
	if err != nil {
		return err
	}
	algorithm := src.Checksum.Algorithm
	if wanted := strings.ToUpper(r.Header.Get("X-Amz-Checksum-Algorithm")); wanted != "" {
		if algorithm = wanted; newHash(algorithm) == nil {
			return invalidRequest("Checksum algorithm provided is unsupported. Please try again with any of the valid types: [CRC32, CRC32C, CRC64NVME, SHA1, SHA256]")
		}
	}
	p, err := s.writeCopy(r, src, 0, src.Size, sealed, key, algorithm)
	if err != nil {
		return err
	}
	v, err := s.publishPart(r, a, sealed, p, algorithm)
	if err != nil {
		return err
	}
	s.setVersion(w.Header(), "X-Amz-Version-Id", v, r.Bucket)
	v.Seal.created(w.Header())
	return writeXML(w, copyResult{XMLName: xml.Name{Local: "CopyObjectResult"}, Xmlns: namespace, LastModified: iso(v.Modified), ETag: quoted(v.ETag), sums: sumsOf(v.Checksum)})
}

// copyResult answers CopyObject and UploadPartCopy.
type copyResult struct {
	XMLName      xml.Name
	Xmlns        string `xml:"xmlns,attr"`
	LastModified string
	ETag         string
	sums
}

// copied works out the attributes of a copy.
func (s *Server) copied(r *request, src source) (attributes, error) {
	wanted, err := given(r.Header)
	if err != nil {
		return wanted, err
	}
	replace, err := directive(r, "X-Amz-Metadata-Directive")
	if err != nil {
		return wanted, err
	}
	if src.bucket == r.Bucket && src.Key == r.Key && !replace && wanted.Class == src.Class && r.Header.Get(headerSSE) == "" &&
		!strings.Contains(r.Header.Get("X-Amz-Copy-Source"), "?versionId=") {
		return wanted, invalidRequest("This copy request is illegal because it is trying to copy an object to itself without changing the object's metadata, storage class, website redirect location or encryption attributes.")
	}
	if !replace {
		wanted.Headers, wanted.Meta = src.Headers, src.Meta
	}
	if replace, err = directive(r, "X-Amz-Tagging-Directive"); err != nil {
		return wanted, err
	}
	if !replace {
		if wanted.Tags = src.Tags; wanted.Tags != "" {
			if err := s.allowed(r.caller.ARN, "s3:GetObjectTagging", objectARN(src.bucket, src.Key)); err != nil {
				return wanted, err
			}
		}
	}
	if wanted.Tags != "" {
		err = s.allowed(r.caller.ARN, "s3:PutObjectTagging", objectARN(r.Bucket, r.Key))
	}
	return wanted, err
}

// directive reads a header that says COPY, as by default, or REPLACE.
func directive(r *request, name string) (replace bool, err error) {
	switch v := r.Header.Get(name); v {
	case "", "COPY":
		return false, nil
	case "REPLACE":
		return true, nil
	default:
		return false, invalidArgument(strings.ToLower(name), v, "Unknown directive.")
	}
}

// writeCopy stores a range of the source as one blob.
func (s *Server) writeCopy(r *request, src source, off, n int64, sealed seal, key []byte, algorithm string) (part, error) {
	body, err := s.read(r.Context(), src.version, off, n)
	if err != nil {
		return part{}, err
	}
	defer body.Close()
	var digest hash.Hash
	if sealed.Algorithm == sseS3 {
		digest = md5.New()
	}
	p, err := s.write(body, sealed, key, algorithm, digest)
	if err == nil && p.Size != n {
		s.store.sweep([]string{p.Blob})
		err = fmt.Errorf("copy %s: %d of %d bytes", src.Key, p.Size, n)
	}
	return p, err
}

// copyRange reads x-amz-copy-source-range; without one it is the whole source.
func copyRange(r *request, size int64) (off, n int64, err error) {
	header := r.Header.Get("X-Amz-Copy-Source-Range")
	if header == "" {
		return 0, size, nil
	}
	first, last, ok := strings.Cut(strings.TrimPrefix(header, "bytes="), "-")
	start, err1 := strconv.ParseInt(first, 10, 64)
	end, err2 := strconv.ParseInt(last, 10, 64)
	if !ok || !strings.HasPrefix(header, "bytes=") || err1 != nil || err2 != nil || start > end {
		return 0, 0, invalidArgument("x-amz-copy-source-range", header, "The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are the zero-based offsets of the first and last bytes to copy")
	}
	if end >= size {
		return 0, 0, invalidArgument("x-amz-copy-source-range", header, "Range specified is not valid for source object of size: %d", size)
	}
	return start, end - start + 1, nil
}
