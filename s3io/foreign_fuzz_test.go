package s3io

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/google/go-cmp/cmp"

	"github.com/kmsfs/kmsfs/crypto"
)

// stranger is a server whose every answer is made up by somebody else.
type stranger struct {
	status int
	header http.Header
	body   []byte
}

func (f stranger) Do(r *http.Request) (*http.Response, error) {
	h := f.header.Clone()
	if h == nil {
		h = http.Header{}
	}
	return &http.Response{
		StatusCode: f.status, Header: h, Request: r, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Body: io.NopCloser(bytes.NewReader(f.body)), ContentLength: int64(len(f.body)),
	}, nil
}

// at returns a bucket at such a server, as sealing mounts have it or not.
func (f stranger) at(t testing.TB, sealing bool) *Bucket {
	o := Options{Bucket: "demo", Prefix: "pre/", Endpoint: "https://s3.test", PathStyle: true, ReadOnly: true, Require: RequireOff}
	if sealing {
		o.Envelope = &Envelope{}
	}
	fill(&o)
	b := newBucket(o, Policy{})
	t.Cleanup(b.cancel)
	b.s3 = s3.New(b.client(aws.Config{Region: "us-east-1", HTTPClient: f, Credentials: aws.AnonymousCredentials{}}).Options(), once)
	if sealing {
		b.keys = &crypto.Keyring{} // seals nothing here
	}
	return b
}

// FuzzListing: whatever a server lists, every key lies below what was asked
// for, no size is negative, and a listing that goes on says how.
func FuzzListing(f *testing.F) {
	object := func(key, size, date string) string {
		return "<Contents><Key>" + key + "</Key><Size>" + size + "</Size><LastModified>" + date + "</LastModified><ETag>&quot;x&quot;</ETag></Contents>"
	}
	page := func(truncated bool, encoding, inner string) []byte {
		return []byte(`<?xml version="1.0"?><ListBucketResult><IsTruncated>` + strconv.FormatBool(truncated) + `</IsTruncated><EncodingType>` +
			encoding + `</EncodingType>` + inner + `</ListBucketResult>`)
	}
	const date = "2026-01-02T03:04:05.000Z"
	f.Add(page(false, "url", object("pre/dir/a%2Fb", "5", date)+"<CommonPrefixes><Prefix>pre/dir/x/</Prefix></CommonPrefixes>"), "dir/", "")
	f.Add(page(true, "url", object("pre/dir/a", "5", date)+"<NextContinuationToken>n</NextContinuationToken>"), "dir/", "m")
	f.Add(page(true, "url", object("pre/dir/a", "5", date)+"<NextContinuationToken>m</NextContinuationToken>"), "dir/", "m")
	f.Add(page(true, "", object("pre/dir/a", "5", date)), "dir/", "")
	f.Add(page(false, "url", object("other/a", "5", date)+object("pre/elsewhere", "5", date)+object("pre/dir/%2E%2E%2F%00%1b%5B", "5", date)), "dir/", "")
	f.Add(page(false, "", object("pre/dir/%zz", "-5", date)), "dir/", "")
	f.Add(page(false, "url", object("pre/%2", "9223372036854775807", "0001-01-01T00:00:00Z")), "", "")
	f.Add(page(false, "url", object("pre/a", "99999999999999999999", "yesterday")), "", "")
	f.Add([]byte(`<Error><Code>AccessDenied</Code></Error>`), "", "")
	f.Add([]byte("\x00\xff<"), "", "")
	f.Fuzz(func(t *testing.T, body []byte, prefix, token string) {
		for _, sealing := range []bool{false, true} {
			q := ListQuery{Prefix: prefix, Delimiter: true, Token: token}
			page, err := stranger{status: 200, body: body}.at(t, sealing).List(t.Context(), q)
			if err != nil {
				continue
			}
			for _, o := range page.Objects {
				if !strings.HasPrefix(o.Key, prefix) || o.Size < 0 || o.Stored < o.Size {
					t.Errorf("listed below %q: %q of %d bytes (%d stored)", prefix, o.Key, o.Size, o.Stored)
				}
			}
			for _, p := range page.Prefixes {
				if !strings.HasPrefix(p, prefix) {
					t.Errorf("listed below %q: %q", prefix, p)
				}
			}
			if token != "" && page.Token == token {
				t.Error("the listing does not end")
			}
		}
	})
}

// FuzzHead: whatever metadata an object has, it is of some size, and what is
// kmsfs's own in it is understood or absent.
func FuzzHead(f *testing.F) {
	f.Add("kmsfs-h", "AAAA", "xattr", "%7B%22user.a%22%3A%22YQ%3D%3D%22%7D", uint32(5), `"x"`, "Fri, 02 Jan 2026 03:04:05 GMT")
	f.Add("kmsfs-h", "!", "kmsfs-x", "=", uint32(crypto.MinSealedSize), "", "never")
	f.Add("kmsfs-s", "-1", "Kmsfs-Commit", "a", uint32(crypto.MinSealedSize+1), `"20000f00"`, "")
	f.Add("mode", "\x1b[2J", "mtime", "1e999", uint32(0), `W/"x"`, "Mon, 01 Jan 0001 00:00:00 GMT")
	f.Fuzz(func(t *testing.T, name1, value1, name2, value2 string, size uint32, etag, date string) {
		h := http.Header{"Content-Length": {strconv.FormatUint(uint64(size), 10)}, "Etag": {etag}, "Last-Modified": {date}}
		h["X-Amz-Meta-"+name1] = []string{value1}
		h["X-Amz-Meta-"+name2] = []string{value2}
		for _, sealing := range []bool{false, true} {
			o, _, err := stranger{status: 200, header: h}.at(t, sealing).head(t.Context(), "dir/a", "")
			if err != nil {
				continue
			}
			if o.Size < 0 || o.Stored != int64(size) || o.Spliced < 0 {
				t.Errorf("%d bytes are taken for %+v", size, o)
			}
			for _, own := range []string{metaHeader, metaXattrs, metaSpliced, commitKey} {
				if _, there := o.Meta[own]; there {
					t.Errorf("%s is shown as metadata of the user's", own)
				}
			}
		}
	})
}

// FuzzError: whatever a server refuses with, the error is one printable line.
func FuzzError(f *testing.F) {
	f.Add(403, []byte(`<Error><Code>AccessDenied</Code><Message>no</Message></Error>`), "id")
	f.Add(400, []byte("<Error><Code>a&#10;b</Code><Message>\u009b31m\u202e</Message></Error>"), "x\x1b[2J")
	f.Add(301, []byte(`<Error><Code>PermanentRedirect</Code><Endpoint>evil.example</Endpoint></Error>`), "")
	f.Add(503, []byte("\x1b]0;title\x07"), "\r\n")
	f.Add(404, []byte("<Error>"), "")
	f.Fuzz(func(t *testing.T, status int, body []byte, request string) {
		if status < 100 || status > 599 {
			return
		}
		h := http.Header{"X-Amz-Request-Id": {request}, "Content-Type": {"application/xml"}}
		b := stranger{status: status, header: h, body: body}.at(t, false)
		_, err := b.List(t.Context(), ListQuery{})
		if err == nil {
			return
		}
		var e *Error
		if !errors.As(err, &e) {
			t.Fatalf("%v is not classified", err)
		}
		if odd := strings.IndexFunc(err.Error(), func(r rune) bool { return !unicode.IsPrint(r) }); odd >= 0 || !utf8.ValidString(err.Error()) {
			t.Errorf("error %q is not printable", err.Error())
		}
	})
}

// FuzzPlainXattrs: what other tools wrote as attributes is understood or
// absent, and stays the same when it is written back.
func FuzzPlainXattrs(f *testing.F) {
	for _, seed := range []string{"", "%7B%22user.a%22%3A%22YQ%3D%3D%22%7D", `{"user.a":"YQ=="}`, `{"a":null}`, "null", `{"a":1}`, "%", `{"a":"YQ==","a":"Yg=="}`, "[]"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, stored string) {
		got := parsePlainXattrs(stored)
		if got == nil {
			t.Fatal("no map")
		}
		again := parsePlainXattrs(withPlainXattrs(nil, got)[plainXattrs])
		if len(got) > 0 && !cmp.Equal(len(got), len(again)) {
			t.Errorf("%q is %v, and then %v", stored, got, again)
		}
		for name, value := range got {
			if !bytes.Equal(again[name], value) {
				t.Errorf("%q of %q becomes %q", name, value, again[name])
			}
		}
	})
}

// FuzzJournal: torn and foreign lines spoil only themselves, and what is left
// is the same when it is written again.
func FuzzJournal(f *testing.F) {
	f.Add([]byte("\n{\"key\":\"a\",\"upload\":\"1\"}\n\n{\"key\":\"a\",\"upload\":\"1\",\"ended\":true}\n"))
	f.Add([]byte("\n{\"move\":\"m\",\"from\":\"a/\",\"to\":\"b/\",\"deleting\":true}\n\n{\"mo"))
	f.Add([]byte("{\"upload\":\"1\",\"key\":\"../../etc\"}\n{\"upload\":\"1\",\"key\":\"b\"}\nnull\n[]\n{}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		left := openEntries(data)
		seen := map[string]bool{}
		var again bytes.Buffer
		for _, e := range left {
			if e.id() == "" || e.Ended || seen[e.id()] {
				t.Errorf("%+v is left", e)
			}
			seen[e.id()] = true
			line, err := json.Marshal(e)
			if err != nil {
				t.Fatal(err)
			}
			again.WriteString("\n" + string(line) + "\n{\"up")
		}
		if diff := cmp.Diff(left, openEntries(again.Bytes())); diff != "" {
			t.Errorf("written again: %s", diff)
		}
	})
}
