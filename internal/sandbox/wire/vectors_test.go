package wire

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// The requests and signatures of this file are the examples of
// https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html, sigv4-query-string-auth.html,
// sigv4-streaming.html and sigv4-streaming-trailers.html

func docVerifier() *Verifier {
	return &Verifier{
		Service: "s3",
		Now:     func() time.Time { return time.Date(2013, 5, 24, 0, 5, 0, 0, time.UTC) },
		Identities: func(key string) (Identity, bool) {
			return Identity{AccessKey: key, SecretKey: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", ARN: "arn:doc"}, key == "AKIAIOSFODNN7EXAMPLE"
		},
	}
}

func docRequest(method, url, signature, signed, payload string, body string, headers ...string) *http.Request {
	r := httptest.NewRequest(method, url, strings.NewReader(body))
	r.Header.Set("X-Amz-Date", "20130524T000000Z")
	r.Header.Set("X-Amz-Content-Sha256", payload)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,SignedHeaders="+signed+",Signature="+signature)
	return r
}

func TestDocumentedSignatures(t *testing.T) {
	bucket := "https://examplebucket.s3.amazonaws.com"
	text := "Welcome to Amazon S3."
	plain := "host;x-amz-content-sha256;x-amz-date"
	for _, c := range []struct {
		name string
		r    *http.Request
	}{
		{"get", docRequest("GET", bucket+"/test.txt", "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
			"host;range;x-amz-content-sha256;x-amz-date", emptyHash, "", "Range", "bytes=0-9")},
		{"put", docRequest("PUT", bucket+"/test$file.text", "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
			"date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class", "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072", text,
			"Date", "Fri, 24 May 2013 00:00:00 GMT", "X-Amz-Storage-Class", "REDUCED_REDUNDANCY")},
		{"lifecycle", docRequest("GET", bucket+"/?lifecycle", "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543", plain, emptyHash, "")},
		{"list", docRequest("GET", bucket+"/?max-keys=2&prefix=J", "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7", plain, emptyHash, "")},
		{"presigned", httptest.NewRequest("GET", bucket+"/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404", nil)},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, err := docVerifier().Verify(c.r)
			if err != nil {
				t.Fatal(err)
			}
			if p.ARN != "arn:doc" || p.Region != "us-east-1" {
				t.Errorf("principal %+v", p)
			}
			if body, err := io.ReadAll(c.r.Body); err != nil || c.name == "put" && string(body) != text {
				t.Errorf("body %q, %v", body, err)
			}
		})
	}
}

// docChunks is the documented content of 65 KiB in three signed chunks.
func docChunks(s1, s2, s3, trailer string) string {
	return "10000;chunk-signature=" + s1 + "\r\n" + strings.Repeat("a", 65536) + "\r\n400;chunk-signature=" + s2 + "\r\n" +
		strings.Repeat("a", 1024) + "\r\n0;chunk-signature=" + s3 + "\r\n" + trailer + "\r\n"
}

func docSigned(edit func(string) string) *http.Request {
	body := docChunks("ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648",
		"0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497",
		"b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9", "")
	return docRequest("PUT", "https://s3.amazonaws.com/examplebucket/chunkObject.txt",
		"4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9",
		"content-encoding;content-length;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;x-amz-storage-class",
		streamingSigned, edit(body), "Content-Encoding", "aws-chunked", "X-Amz-Decoded-Content-Length", "66560",
		"X-Amz-Storage-Class", "REDUCED_REDUNDANCY", "Content-Length", "66824")
}

func docTrailer(edit func(string) string) *http.Request {
	body := docChunks("b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2",
		"1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7",
		"2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992",
		"x-amz-checksum-crc32c:sOO8/Q==\r\nx-amz-trailer-signature:d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435\r\n")
	return docRequest("PUT", "https://s3.amazonaws.com/examplebucket/chunkObject.txt",
		"106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e",
		"content-encoding;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;x-amz-storage-class;x-amz-trailer",
		streamingTrailer, edit(body), "Content-Encoding", "aws-chunked", "X-Amz-Decoded-Content-Length", "66560",
		"X-Amz-Storage-Class", "REDUCED_REDUNDANCY", "X-Amz-Trailer", "x-amz-checksum-crc32c")
}

func TestDocumentedStreams(t *testing.T) {
	keep := func(s string) string { return s }
	replace := func(old, new string) func(string) string {
		return func(s string) string { return strings.Replace(s, old, new, 1) }
	}
	for _, c := range []struct {
		name string
		r    *http.Request
		code string // of the error from Read
	}{
		{"signed", docSigned(keep), ""},
		{"trailer", docTrailer(keep), ""},
		{"byte changed", docSigned(replace("\r\naaa", "\r\naba")), "SignatureDoesNotMatch"},
		{"chunk signature changed", docSigned(replace("=0055", "=0056")), "SignatureDoesNotMatch"},
		{"last chunk unsigned", docSigned(replace("0;chunk-signature=b6", "0;chunk-signature=b7")), "SignatureDoesNotMatch"},
		{"cut", docSigned(func(s string) string { return s[:50000] }), "IncompleteBody"},
		{"cut between chunks", docSigned(func(s string) string { return s[:strings.Index(s, "400;")] }), "IncompleteBody"},
		{"trailer changed", docTrailer(replace("sOO8", "sOO9")), "SignatureDoesNotMatch"},
		{"trailer's signature dropped", docTrailer(func(s string) string { return s[:strings.Index(s, "x-amz-trailer-s")] + "\r\n" }), "SignatureDoesNotMatch"},
		{"trailer dropped", docTrailer(func(s string) string { return s[:strings.Index(s, "x-amz-checksum")] + "\r\n" }), "MalformedTrailerError"},
		{"trailer not announced", docTrailer(replace("x-amz-checksum-crc32c:", "x-amz-meta-a:1\r\nx-amz-checksum-crc32c:")), "MalformedTrailerError"},
		{"size", docSigned(replace("400;", "zz;")), "IncompleteBody"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := docVerifier().Verify(c.r); err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(c.r.Body)
			if c.code != "" {
				var e *Error
				if !errors.As(err, &e) || e.Code != c.code {
					t.Errorf("read %d bytes and %v, want %s", len(body), err, c.code)
				}
				return
			}
			if err != nil || string(body) != strings.Repeat("a", 66560) {
				t.Errorf("read %d bytes, %v", len(body), err)
			}
			if c.name == "trailer" && c.r.Trailer.Get("X-Amz-Checksum-Crc32c") != "sOO8/Q==" {
				t.Errorf("trailers %v", c.r.Trailer)
			}
			if c.r.ContentLength != 66560 || c.r.Header.Get("Content-Encoding") != "" || c.r.Header.Get("X-Amz-Decoded-Content-Length") != "" {
				t.Errorf("request is not plain: %d, %v", c.r.ContentLength, c.r.Header)
			}
		})
	}
}
