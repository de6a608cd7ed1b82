package s3io

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awscredentials "github.com/aws/aws-sdk-go-v2/credentials"
)

// answering answers every request by a body.
type answering func(r *http.Request) string

func (f answering) Do(r *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"application/xml"}},
		Body: io.NopCloser(strings.NewReader(f(r))), Request: r}, nil
}

const acl = `<AccessControlPolicy xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Owner><ID>me</ID></Owner><AccessControlList>
<Grant><Grantee xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="CanonicalUser"><ID>me</ID></Grantee><Permission>FULL_CONTROL</Permission></Grant>
<Grant><Grantee xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="CanonicalUser"><ID>friend</ID></Grantee><Permission>READ</Permission></Grant>
<Grant><Grantee xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="Group"><URI>http://acs.amazonaws.com/groups/s3/LogDelivery</URI></Grantee><Permission>READ</Permission></Grant>
<Grant><Grantee xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="CanonicalUser"><ID>auditor</ID></Grantee><Permission>READ_ACP</Permission></Grant>
</AccessControlList></AccessControlPolicy>`

// TestHeritage: what replaces an object, or is copied from it, takes over its ACL and
// its lock, neither of which the sandbox has.
func TestHeritage(t *testing.T) {
	o, policy, err := validate(Options{Bucket: "bucket", Policy: Policy{KeyID: "k"}})
	check(t, err)
	b := newBucket(o, policy)
	t.Cleanup(b.cancel)
	asked := 0
	b.s3 = b.client(aws.Config{Region: "us-east-1", Credentials: awscredentials.NewStaticCredentialsProvider("AKID", "SECRET", ""),
		HTTPClient: answering(func(r *http.Request) string {
			if r.Method != http.MethodGet || !r.URL.Query().Has("acl") || r.URL.Query().Get("versionId") != "v7" {
				t.Errorf("%s %s", r.Method, r.URL)
			}
			asked++
			return acl
		})})
	until := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	base := Object{Key: "f", ETag: "e", VersionID: "v7", Head: true, StorageClass: "GLACIER_IR",
		Lock: Lock{Mode: "COMPLIANCE", Until: until, LegalHold: true}}
	for _, acls := range []bool{true, false} {
		b.acls, asked = acls, 0
		h, err := b.inherit(t.Context(), opPut, "f", Attrs{Meta: map[string]string{}}, &base, false)
		check(t, err)
		got := h.header("commit")
		want := map[string]string{
			"X-Amz-Object-Lock-Mode": "COMPLIANCE", "X-Amz-Object-Lock-Retain-Until-Date": "2030-01-02T03:04:05Z",
			"X-Amz-Object-Lock-Legal-Hold": "ON", "X-Amz-Storage-Class": "GLACIER_IR",
			"X-Amz-Grant-Full-Control": `id="me"`, "X-Amz-Grant-Read-Acp": `id="auditor"`,
			"X-Amz-Grant-Read": `id="friend", uri="http://acs.amazonaws.com/groups/s3/LogDelivery"`,
		}
		for name, value := range want {
			if !acls && strings.Contains(name, "Grant") {
				value = ""
			}
			if got.Get(name) != value {
				t.Errorf("ACLs %v: %s is %q, want %q", acls, name, got.Get(name), value)
			}
		}
		if (asked == 1) != acls {
			t.Errorf("ACLs %v: %d requests", acls, asked)
		}
	}
}
