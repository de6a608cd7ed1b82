package s3

import (
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/kmsfs/kmsfs/internal/sandbox/wire"
)

// A span is the bytes of an object that are answered.
type span struct {
	off, n  int64
	partial bool // answered with 206
	part    int  // index of the part asked for by number; -1 if none was
}

// getObject answers GET and HEAD of an object. Only GET has the data key opened.
func (s *Server) getObject(w http.ResponseWriter, r *request) error {
	v, release, err := s.store.acquire(r.Bucket, func(b *bucket) (*version, error) {
		return b.readable(r.Key, r.version(), w.Header())
	})
	if err != nil {
		return s.unread(r, err)
	}
	defer release()
	if err := s.secure(r, v.Seal.Algorithm); err != nil {
		return err
	}
	h := w.Header()
	s.setVersion(h, "X-Amz-Version-Id", v, r.Bucket)
	h.Set("Last-Modified", lastModified(v.Modified))
	h.Set("ETag", quoted(v.ETag))
	if failed, known := readable(r.Header, "", v); known {
		w.WriteHeader(http.StatusNotModified)
		return nil
	} else if failed != "" {
		return preconditionFailed(failed)
	}
	part, err := v.span(r)
	if err != nil {
		return err
	}
	var body io.ReadCloser
	if r.Method == http.MethodGet {
		if slices.Contains(archived[:], v.Class) {
			return with(wire.Errorf(403, "InvalidObjectState", "The operation is not valid for the object's storage class"), "StorageClass", v.Class)
		}
		if body, err = s.read(r.Context(), v, part.off, part.n); err != nil {
			return err
		}
		defer body.Close()
	}
	v.describe(h, r, part)
	if part.partial {
		w.WriteHeader(http.StatusPartialContent)
	}
	if body == nil {
		return nil
	}
	if n, err := io.Copy(w, body); err != nil || n != part.n {
		panic(http.ErrAbortHandler) // the status is out: only a broken connection can tell that the body is not whole
	}
	return nil
}

// readable finds a version of key to read, or says why there is none; h is told of delete markers.
func (b *bucket) readable(key, id string, h http.Header) (*version, error) {
	v := b.find(key, id)
	switch {
	case v == nil && id != "":
		return nil, noSuchVersion(key, id)
	case v == nil:
		return nil, noSuchKey(key)
	case !v.Marker:
		return v, nil
	}
	h.Set("X-Amz-Delete-Marker", "true")
	h.Set("X-Amz-Version-Id", v.ID)
	if id != "" {
		h.Set("Last-Modified", lastModified(v.Modified))
		return nil, wire.Errorf(405, "MethodNotAllowed", "The specified method is not allowed against this resource.")
	}
	return nil, noSuchKey(key)
}

// unread answers for an object that could not be found.
func (s *Server) unread(r *request, err error) error {
	if e := answer(err); e.Code == "NoSuchKey" {
		return s.absent(r, r.Bucket, err)
	}
	return err
}

// describe sets the headers that say what is answered.
func (v *version) describe(h http.Header, r *request, part span) {
	v.write(h)
	v.Seal.echo(h)
	h.Set("Accept-Ranges", "bytes")
	h.Set("Content-Length", strconv.FormatInt(part.n, 10))
	if part.partial {
		h.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", part.off, part.off+part.n-1, v.Size))
	}
	if part.part >= 0 && v.Multipart {
		h.Set("X-Amz-Mp-Parts-Count", strconv.Itoa(len(v.Content.Parts)))
	}
	if strings.EqualFold(r.Header.Get("X-Amz-Checksum-Mode"), "ENABLED") {
		switch {
		case part.part >= 0 && v.Multipart:
			sum := v.Content.Parts[part.part].Checksum
			checksum{v.Checksum.Algorithm, v.Checksum.Type, base64.StdEncoding.EncodeToString(sum)}.set(h)
		case !part.partial:
			v.Checksum.set(h)
		}
	}
	for query, name := range map[string]string{"response-content-type": "Content-Type", "response-content-language": "Content-Language",
		"response-expires": "Expires", "response-cache-control": "Cache-Control",
		"response-content-disposition": "Content-Disposition", "response-content-encoding": "Content-Encoding"} {
		if value := r.query.Get(query); value != "" {
			h.Set(name, value)
		}
	}
}

// span finds what the Range header or the part number asks for.
func (v *version) span(r *request) (span, error) {
	number, ranges := r.query.Get("partNumber"), r.Header.Get("Range")
	if number == "" {
		return v.ranged(ranges)
	}
	if ranges != "" {
		return span{}, invalidRequest("Cannot specify both Range header and partNumber query parameter")
	}
	n, err := strconv.Atoi(number)
	if err != nil || n < 1 || n > maxParts {
		return span{}, invalidArgument("partNumber", number, "Part number must be an integer between 1 and 10000, inclusive")
	}
	found := span{partial: true}
	for i, p := range v.Content.Parts {
		if !v.Multipart && n == 1 {
			return span{n: v.Size, part: 0}, nil
		}
		if v.Multipart && p.Number == n {
			found.n, found.part = p.Size, i
			return found, nil
		}
		found.off += p.Size
	}
	return span{}, with(wire.Errorf(416, "InvalidPartNumber", "The requested partnumber is not satisfiable"),
		"PartNumberRequested", number, "ActualPartCount", strconv.Itoa(len(v.Content.Parts)))
}

// ranged reads a Range header of one range; what is not of that form is ignored, as HTTP wants it.
func (v *version) ranged(header string) (span, error) {
	whole := span{n: v.Size, part: -1}
	first, last, ok := strings.Cut(strings.TrimPrefix(header, "bytes="), "-")
	if !ok || !strings.HasPrefix(header, "bytes=") {
		return whole, nil
	}
	start, err1 := strconv.ParseInt(first, 10, 64)
	end, err2 := strconv.ParseInt(last, 10, 64)
	switch {
	case first == "" && err2 == nil: // the last bytes
		start, end = max(0, v.Size-end), v.Size-1
	case err1 == nil && last == "":
		end = v.Size - 1
	case err1 != nil || err2 != nil || start > end:
		return whole, nil
	}
	if end = min(end, v.Size-1); start > end {
		e := with(wire.Errorf(416, "InvalidRange", "The requested range is not satisfiable"), "RangeRequested", header, "ActualObjectSize", strconv.FormatInt(v.Size, 10))
		return span{}, e
	}
	return span{off: start, n: end - start + 1, partial: true, part: -1}, nil
}

// read opens the data key and returns n bytes of the object at off. The version must be pinned while they are read.
func (s *Server) read(ctx context.Context, v *version, off, n int64) (io.ReadCloser, error) {
	if err := v.Content.kept(off, n); err != nil {
		return nil, err
	}
	key, err := s.keys.open(ctx, v.Seal)
	if err != nil {
		return nil, err
	}
	return &reader{store: s.store, key: key, parts: v.Content.Parts, off: off, left: n}, nil
}

// A reader reads a range that may span blobs; it has one of them open at a time.
type reader struct {
	store *store
	key   []byte
	parts []part // the first one holds off
	off   int64  // from the start of the first of parts
	left  int64
	blob  blobReader
	in    io.Reader
}

func (r *reader) Read(p []byte) (int, error) {
	for {
		if r.in == nil {
			if r.left == 0 {
				return 0, io.EOF
			}
			if err := r.next(); err != nil {
				return 0, err
			}
		}
		n, err := r.in.Read(p)
		if err != io.EOF {
			return n, err
		}
		if err := r.Close(); err != nil || n > 0 {
			return n, err
		}
	}
}

// Close closes the blob that is open; the rest of the range can still be read.
func (r *reader) Close() error {
	if r.in == nil {
		return nil
	}
	r.in = nil
	return r.blob.Close()
}

// next opens the blob that the range continues in.
func (r *reader) next() (err error) {
	for r.off >= r.parts[0].Size {
		r.off -= r.parts[0].Size
		r.parts = r.parts[1:]
	}
	p := r.parts[0]
	aead, err := newAEAD(r.key, p.Blob)
	if err != nil {
		return err
	}
	if r.blob, err = r.store.blobs.open(p.Blob); err != nil {
		return err
	}
	n := min(r.left, p.Size-r.off)
	r.in = newOpener(r.blob, aead, p.Size, r.off, n)
	r.off, r.left = r.off+n, r.left-n
	return nil
}
