package s3io

import (
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awscredentials "github.com/aws/aws-sdk-go-v2/credentials"
)

// sentRequests is an HTTP client that notes what it is to send, and answers
// with little.
type sentRequests struct {
	mu  sync.Mutex
	all []*http.Request
}

func (s *sentRequests) Do(r *http.Request) (*http.Response, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = append(s.all, r)
	body := ""
	if r.Method == http.MethodPut {
		body = "<CopyObjectResult><ETag>e</ETag></CopyObjectResult>"
	} else if r.URL.Query().Get("list-type") != "" {
		body = "<ListBucketResult></ListBucketResult>"
	}
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{"Etag": {`"e"`}}, Request: r,
		Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body))}, nil
}

// TestFormOfRequests looks at where requests go that name an access point by its
// ARN, and at what every request carries that is asked for by flags.
// https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-access-points.html
func TestFormOfRequests(t *testing.T) {
	const account, point = "111122223333", "arn:aws:s3:eu-west-1:111122223333:accesspoint/ap"
	for bucket, want := range map[string]struct{ host, source string }{
		point:    {"ap-111122223333.s3-accesspoint.eu-west-1.amazonaws.com", "arn%3Aaws%3As3%3Aeu-west-1%3A111122223333%3Aaccesspoint/ap/object/p/src"},
		"bucket": {"bucket.s3.us-east-1.amazonaws.com", "bucket/p/src"},
	} {
		o, policy, err := validate(Options{Bucket: bucket, Prefix: "p/", RequestPayer: true, ExpectedBucketOwner: account, Policy: Policy{KeyID: "k"}})
		if err != nil {
			t.Fatal(err)
		}
		b := newBucket(o, policy)
		t.Cleanup(b.cancel)
		if b.sse, err = policy.headers("k"); err != nil {
			t.Fatal(err)
		}
		var sent sentRequests
		b.s3 = b.client(aws.Config{Region: "us-east-1", HTTPClient: &sent, Credentials: awscredentials.NewStaticCredentialsProvider("AKID", "SECRET", "")})
		if _, _, err := b.head(t.Context(), "src", ""); err != nil {
			t.Error(err)
		}
		if _, err := b.List(t.Context(), ListQuery{}); err != nil {
			t.Error(err)
		}
		if _, err := b.sendCopy(t.Context(), Object{Key: "src"}, nil, "dst", heritage{}.header("commit"), Condition{}); err != nil {
			t.Error(err)
		}
		if len(sent.all) != 3 {
			t.Fatalf("%d requests", len(sent.all))
		}
		for i, path := range []string{"/p/src", "/", "/p/dst"} {
			r := sent.all[i]
			if r.URL.Host != want.host || r.URL.Path != path {
				t.Errorf("%s %s goes to %s, %s", r.Method, bucket, r.URL.Host, r.URL.Path)
			}
			if r.Header.Get("X-Amz-Request-Payer") != "requester" || r.Header.Get("X-Amz-Expected-Bucket-Owner") != account {
				t.Errorf("%s %s carries %v", r.Method, bucket, r.Header)
			}
			signed := r.Header.Get("Authorization")
			if region := map[bool]string{true: "eu-west-1", false: "us-east-1"}[bucket == point]; !strings.Contains(signed, "/"+region+"/s3/") ||
				!strings.Contains(signed, "x-amz-expected-bucket-owner") {
				t.Errorf("%s %s is signed as %s", r.Method, bucket, signed)
			}
		}
		h := sent.all[2].Header
		if got := h.Get("X-Amz-Copy-Source"); got != want.source || h.Get("X-Amz-Source-Expected-Bucket-Owner") != account {
			t.Errorf("copy of %q, %v", got, h)
		}
	}
}
