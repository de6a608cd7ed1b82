package integration

import (
	"context"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/kmsfs/kmsfs/integration/harness"
)

// patience bounds every single wait of a test.
const patience = time.Minute

// sandboxed starts a sandbox in the mode that the promises are tested in.
func sandboxed(t testing.TB) *harness.Server {
	t.Helper()
	return harness.Sandbox(t).In(t, harness.ChosenMode())
}

// within fails the test if f does not return in time.
func within(t testing.TB, what string, d time.Duration, f func() error) {
	t.Helper()
	done := async(f)
	select {
	case err := <-done:
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
	case <-time.After(d):
		t.Fatalf("%s does not return within %v", what, d)
	}
}

// async runs f and gives its error.
func async(f func() error) <-chan error {
	done := make(chan error, 1)
	go func() { done <- f() }()
	return done
}

// await takes an error from a channel, or fails the test.
func await(t testing.TB, what string, done <-chan error) error {
	t.Helper()
	select {
	case err := <-done:
		return err
	case <-time.After(patience):
		t.Fatalf("%s does not return", what)
		return nil
	}
}

// awaitOp waits until the sandbox saw the operation n times.
func awaitOp(t testing.TB, s *harness.Server, op string, n int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := s.Sandbox.Log.Wait(ctx, op, n); err != nil {
		t.Fatalf("%d x %s: %v; seen: %v", n, op, err, s.Sandbox.Log.Counts())
	}
}

// setVersioning switches the bucket's versioning: "Enabled", "Suspended" or
// "" for a bucket that never had it.
func setVersioning(t testing.TB, s *harness.Server, status string) {
	t.Helper()
	if status == "" {
		return
	}
	for _, step := range []string{"Enabled", status} {
		_, err := s.S3.PutBucketVersioning(context.Background(), &s3.PutBucketVersioningInput{
			Bucket: &s.Bucket, VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatus(step)},
		})
		harness.Must(t, err)
	}
}

// eachVersioning runs f on an unversioned, a versioned and a suspended bucket.
func eachVersioning(t *testing.T, f func(t *testing.T, s *harness.Server)) {
	for _, status := range []string{"", "Enabled", "Suspended"} {
		t.Run("versioning "+status, func(t *testing.T) {
			s := sandboxed(t)
			setVersioning(t, s, status)
			f(t, s)
		})
	}
}
