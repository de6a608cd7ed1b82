package kms

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kms"

	"github.com/kmsfs/kmsfs/internal/sandbox/wire"
)

const (
	home    = "111122223333"
	another = "444455556666"
)

func alice() wire.Identity {
	return wire.Identity{AccessKey: "ALICE", SecretKey: "a", ARN: "arn:aws:iam::" + home + ":user/alice"}
}

// bob is of the other account.
func bob() wire.Identity {
	return wire.Identity{AccessKey: "BOB", SecretKey: "b", ARN: "arn:aws:iam::" + another + ":user/bob"}
}

// carol is of bob's account.
func carol() wire.Identity {
	return wire.Identity{AccessKey: "CAROL", SecretKey: "c", ARN: "arn:aws:iam::" + another + ":user/carol"}
}

// bench is a Server whose log, faults, denials and clock the test holds.
type bench struct {
	*Server
	log     wire.Log
	faults  wire.Faults
	denials wire.Denials
	url     string
	http    *http.Client
}

func newBench(t *testing.T, o Options) *bench {
	t.Helper()
	b := &bench{}
	o.Log, o.Faults, o.Denials = &b.log, &b.faults, &b.denials
	o.Identities = func(key string) (wire.Identity, bool) {
		for _, id := range []wire.Identity{alice(), bob(), carol()} {
			if id.AccessKey == key {
				return id, true
			}
		}
		return wire.Identity{}, false
	}
	var err error
	if b.Server, err = New(o); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(b.Server)
	t.Cleanup(server.Close)
	b.url, b.http = server.URL, server.Client()
	return b
}

// client is the SDK's, which signs as id for region.
func (b *bench) client(id wire.Identity, region string) *kms.Client {
	return kms.New(kms.Options{
		Region: region, BaseEndpoint: aws.String(b.url), HTTPClient: b.http, RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider(id.AccessKey, id.SecretKey, ""),
	})
}

func (b *bench) create(t *testing.T, o KeyOptions) string {
	t.Helper()
	arn, err := b.CreateKey(o)
	if err != nil {
		t.Fatal(err)
	}
	return arn
}

func testContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}
