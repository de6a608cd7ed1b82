package s3

import (
	"fmt"
	"slices"
	"strings"
)

// An Expectation is the encryption headers that every creating request must carry. Empty fields may be anything.
type Expectation struct {
	Algorithm string // x-amz-server-side-encryption
	KeyID     string // x-amz-server-side-encryption-aws-kms-key-id
	BucketKey string // x-amz-server-side-encryption-bucket-key-enabled: true or false
	Context   string // x-amz-server-side-encryption-context
}

// Expect sets what creating requests must carry from now on, and forgets past violations. Nil expects nothing.
func (s *Server) Expect(e *Expectation) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expect, s.violations = e, nil
}

// Violations returns one line for each object or upload that was created without the expected headers.
func (s *Server) Violations() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.violations)
}

// inspect notes a request that created something without the expected headers.
func (s *Server) inspect(r *request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.expect == nil {
		return
	}
	for _, want := range []struct{ header, value string }{{headerSSE, s.expect.Algorithm}, {headerKeyID, s.expect.KeyID},
		{headerBucketKey, s.expect.BucketKey}, {headerContext, s.expect.Context}} {
		got := r.Header.Get(want.header)
		if want.header == headerBucketKey {
			got = strings.ToLower(got) // the AWS CLI sends True
		}
		if want.value != "" && got != want.value {
			s.violations = append(s.violations, fmt.Sprintf("%s %s/%s: %s is %q, expected %q", r.Op, r.Bucket, r.Key, strings.ToLower(want.header), got, want.value))
		}
	}
}
