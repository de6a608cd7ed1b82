package wire

import (
	"bufio"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// What the x-amz-content-sha256 header may say instead of a hash:
// https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming.html and sigv4-streaming-trailers.html
const (
	unsignedPayload   = "UNSIGNED-PAYLOAD"
	streamingSigned   = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
	streamingTrailer  = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
	streamingUnsigned = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
)

// maxLine bounds a chunk header or trailer line.
const maxLine = 4096

// plainBody replaces r's body by one that is decoded and checked as the payload marker demands.
func plainBody(r *http.Request, payload string, sign signer, seed string) *Error {
	switch payload {
	case unsignedPayload:
		return nil
	case streamingSigned, streamingTrailer, streamingUnsigned:
	default:
		if raw, err := hex.DecodeString(payload); err != nil || len(raw) != sha256.Size {
			return Errorf(400, "InvalidArgument", "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, STREAMING-UNSIGNED-PAYLOAD-TRAILER, STREAMING-AWS4-HMAC-SHA256-PAYLOAD, STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER or a valid sha256 value.")
		}
		r.Body = newHashedBody(r.Body, payload)
		return nil
	}
	size, err := strconv.ParseInt(r.Header.Get("X-Amz-Decoded-Content-Length"), 10, 64)
	if err != nil || size < 0 {
		return Errorf(411, "MissingContentLength", "You must provide the Content-Length HTTP header.")
	}
	body := &chunkedBody{in: bufio.NewReaderSize(r.Body, maxLine), close: r.Body, size: size, request: r, trailers: payload != streamingSigned}
	if payload != streamingUnsigned {
		body.sign, body.previous, body.hash = &sign, seed, sha256.New()
	}
	r.Body, r.ContentLength = body, size
	r.Trailer = http.Header{} // filled later: the service may have a copy of the request by then
	r.Header.Set("Content-Length", strconv.FormatInt(size, 10))
	r.Header.Set("X-Amz-Content-Sha256", unsignedPayload)
	r.Header.Del("X-Amz-Decoded-Content-Length")
	rest := withoutChunked(r.Header.Values("Content-Encoding"))
	r.Header.Del("Content-Encoding")
	if rest != "" {
		r.Header.Set("Content-Encoding", rest)
	}
	return nil
}

// withoutChunked returns the content codings that belong to the object.
func withoutChunked(codings []string) string {
	var rest []string
	for c := range strings.SplitSeq(strings.Join(codings, ","), ",") {
		if c = strings.TrimSpace(c); c != "" && c != "aws-chunked" {
			rest = append(rest, c)
		}
	}
	return strings.Join(rest, ",")
}

// chunkedBody decodes aws-chunked: HEX[;chunk-signature=SIG]\r\n DATA \r\n, ..., 0[;...]\r\n [trailers] \r\n.
type chunkedBody struct {
	in       *bufio.Reader
	close    io.Closer
	request  *http.Request
	trailers bool
	sign     *signer // nil: chunks are not signed
	previous string  // signature that the next one chains to
	hash     hash.Hash

	size      int64  // content that is still to come
	left      int64  // data that is left of this chunk
	signature string // of this chunk
	started   bool
	err       error // sticks
}

// Close closes the request's own body.
func (b *chunkedBody) Close() error { return b.close.Close() }

// Read returns content. It fails with an *Error at the first thing that is not as the client announced or signed it.
func (b *chunkedBody) Read(p []byte) (int, error) {
	if b.err == nil && b.left == 0 {
		b.err = b.next()
	}
	if b.err != nil || len(p) == 0 {
		return 0, b.err
	}
	n, err := b.in.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	b.size -= int64(n)
	if b.hash != nil {
		b.hash.Write(p[:n])
	}
	switch {
	case b.size < 0:
		b.err = badChunk("more content than announced")
	case err != nil:
		b.err = badChunk("body ends inside a chunk")
	}
	if b.err != nil {
		return 0, b.err
	}
	return n, nil
}

// next ends the chunk that was read and starts the next one; after the last it returns io.EOF.
func (b *chunkedBody) next() error {
	if b.started {
		if line, err := b.line(); err != nil || line != "" {
			return badChunk("chunk does not end with a line break")
		}
		if err := b.verifyChunk(); err != nil {
			return err
		}
	}
	b.started = true
	header, err := b.line()
	if err != nil {
		return badChunk("chunk header is missing")
	}
	digits, extension, _ := strings.Cut(header, ";")
	n, err := strconv.ParseUint(digits, 16, 40)
	if err != nil {
		return badChunk("chunk size is malformed")
	}
	b.signature, b.left = strings.TrimPrefix(extension, "chunk-signature="), int64(n)
	if n > 0 {
		return nil
	}
	if err := b.verifyChunk(); err != nil {
		return err
	}
	return b.end()
}

// end reads what follows the last chunk.
func (b *chunkedBody) end() error {
	if b.size != 0 {
		return badChunk("less content than announced")
	}
	var signed strings.Builder
	for {
		line, err := b.line()
		if err == io.EOF && line == "" { // some clients leave out the last line break
			break
		}
		if err != nil {
			return badTrailer()
		}
		if line == "" {
			break
		}
		name, value, ok := strings.Cut(line, ":")
		name, value = strings.ToLower(strings.TrimSpace(name)), strings.TrimSpace(value)
		if !ok || !b.trailers {
			return badTrailer()
		}
		if name == "x-amz-trailer-signature" {
			b.signature = value
			continue
		}
		signed.WriteString(name + ":" + value + "\n")
		b.request.Trailer.Add(name, value)
	}
	if !b.announced() {
		return badTrailer()
	}
	if b.sign != nil && b.trailers {
		want := b.sign.sign(algorithm+"-TRAILER", b.previous, hexSHA256([]byte(signed.String())))
		if !hmac.Equal([]byte(want), []byte(b.signature)) {
			return badSignature()
		}
	}
	return io.EOF
}

// announced reports whether the trailers are those that the x-amz-trailer header names.
func (b *chunkedBody) announced() bool {
	n := 0
	for name := range strings.SplitSeq(b.request.Header.Get("X-Amz-Trailer"), ",") {
		if name = strings.TrimSpace(name); name == "" {
			continue
		}
		if n++; b.request.Trailer.Get(name) == "" {
			return false
		}
	}
	return n == len(b.request.Trailer)
}

// verifyChunk checks the signature of the chunk that was read whole.
func (b *chunkedBody) verifyChunk() error {
	if b.sign == nil {
		return nil
	}
	want := b.sign.sign(algorithm+"-PAYLOAD", b.previous, emptyHash, hex.EncodeToString(b.hash.Sum(nil)))
	if !hmac.Equal([]byte(want), []byte(b.signature)) {
		return badSignature()
	}
	b.previous = want
	b.hash.Reset()
	return nil
}

// line reads up to a line break, which is not returned.
func (b *chunkedBody) line() (string, error) {
	line, err := b.in.ReadSlice('\n')
	return strings.TrimSuffix(strings.TrimSuffix(string(line), "\n"), "\r"), err
}

func badChunk(what string) *Error {
	return Errorf(400, "IncompleteBody", "The request body terminated unexpectedly: %s", what)
}

func badTrailer() *Error {
	return Errorf(400, "MalformedTrailerError", "The request contained trailing data that was not well-formed or did not conform to our published schema.")
}

func badSignature() *Error { return (&Verifier{Service: "s3"}).mismatch() }
