package crypto

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/google/go-cmp/cmp"
)

const (
	testID     = "1234abcd-12ab-34cd-56ef-1234567890ab"
	testMRK    = "mrk-1234abcd12ab34cd56ef1234567890ab"
	testKeyARN = "arn:aws:kms:eu-west-1:111122223333:key/" + testID
)

// wireKMS is a KMS that answers every DescribeKey with status and body, and
// keeps the ids that it was asked for.
type wireKMS struct {
	status int
	body   string
	asked  []string
}

func (k *wireKMS) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var in struct{ KeyId string }
	body, err := io.ReadAll(r.Body)
	if err == nil {
		err = json.Unmarshal(body, &in)
	}
	if err != nil || r.Header.Get("X-Amz-Target") != "TrentService.DescribeKey" {
		http.Error(w, "not a DescribeKey", http.StatusBadRequest)
		return
	}
	k.asked = append(k.asked, in.KeyId)
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	w.WriteHeader(k.status)
	_, _ = io.WriteString(w, k.body)
}

// resolve asks a KMS that answers with status and body for id.
func (k *wireKMS) resolve(t *testing.T, id, region string) (Key, error) {
	t.Helper()
	srv := httptest.NewServer(k)
	t.Cleanup(srv.Close)
	client := NewKMS(aws.Config{
		Region:      "eu-west-1",
		Credentials: credentials.NewStaticCredentialsProvider("AKID", "SECRET", ""),
		Retryer:     func() aws.Retryer { return aws.NopRetryer{} },
	}, srv.URL)
	return ResolveKey(t.Context(), client, id, region)
}

// metadata is the answer for an enabled symmetric key; edits replace fields.
func metadata(t *testing.T, edits map[string]any) string {
	t.Helper()
	m := map[string]any{
		"AWSAccountId": "111122223333", "Arn": testKeyARN, "KeyId": testID, "Enabled": true,
		"KeySpec": "SYMMETRIC_DEFAULT", "KeyUsage": "ENCRYPT_DECRYPT", "KeyState": "Enabled",
		"KeyManager": "CUSTOMER", "MultiRegion": false,
	}
	for k, v := range edits {
		m[k] = v
	}
	b, err := json.Marshal(map[string]any{"KeyMetadata": m})
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestResolveKeyAcceptsEveryNameOfAKey(t *testing.T) {
	want := Key{ARN: testKeyARN, ID: testID, Region: "eu-west-1", Account: "111122223333"}
	for _, id := range []string{
		testID, testKeyARN, "alias/backup", "alias/team_a/backup",
		"arn:aws:kms:eu-west-1:111122223333:alias/backup",
	} {
		k := &wireKMS{status: 200, body: metadata(t, nil)}
		got, err := k.resolve(t, id, "eu-west-1")
		if err != nil {
			t.Errorf("%s: %v", id, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", id, diff)
		}
		if diff := cmp.Diff([]string{id}, k.asked); diff != "" {
			t.Errorf("%s: KMS was asked for %s", id, diff)
		}
	}
}

func TestResolveKeyTellsKindsOfKeysApart(t *testing.T) {
	mrkARN := "arn:aws:kms:eu-west-1:444455556666:key/" + testMRK
	k := &wireKMS{status: 200, body: metadata(t, map[string]any{
		"Arn": mrkARN, "KeyId": testMRK, "MultiRegion": true, "KeyState": "Updating"})}
	got, err := k.resolve(t, mrkARN, "eu-west-1")
	if err != nil {
		t.Fatal(err)
	}
	want := Key{ARN: mrkARN, ID: testMRK, Region: "eu-west-1", Account: "444455556666", MultiRegion: true}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}

	k = &wireKMS{status: 200, body: metadata(t, map[string]any{"KeyManager": "AWS"})}
	if got, err = k.resolve(t, "alias/aws/s3", ""); err != nil || !got.AWSManaged {
		t.Errorf("alias/aws/s3: %+v, %v", got, err)
	}
}

func TestResolveKeyRefusesUnfitKeys(t *testing.T) {
	cases := map[string]struct {
		edits  map[string]any
		reason Reason
		says   string
	}{
		"RSA":              {map[string]any{"KeySpec": "RSA_4096"}, Asymmetric, "RSA_4096"},
		"signing":          {map[string]any{"KeySpec": "ECC_NIST_P256", "KeyUsage": "SIGN_VERIFY"}, Asymmetric, "symmetric encryption key"},
		"HMAC":             {map[string]any{"KeySpec": "HMAC_256", "KeyUsage": "GENERATE_VERIFY_MAC"}, HMAC, "HMAC"},
		"disabled HMAC":    {map[string]any{"KeySpec": "HMAC_256", "KeyState": "Disabled"}, HMAC, "cannot encrypt"},
		"disabled":         {map[string]any{"KeyState": "Disabled"}, Disabled, "aws kms enable-key --key-id " + testKeyARN},
		"pending deletion": {map[string]any{"KeyState": "PendingDeletion", "DeletionDate": 1893456000}, PendingDeletion, "on 2030-01-01"},
		"replica deletion": {map[string]any{"KeyState": "PendingReplicaDeletion"}, PendingDeletion, "cancel-key-deletion"},
		"pending import":   {map[string]any{"KeyState": "PendingImport"}, PendingImport, "import-key-material"},
		"unavailable":      {map[string]any{"KeyState": "Unavailable"}, Unavailable, "custom key store"},
		"creating":         {map[string]any{"KeyState": "Creating"}, Unavailable, "wait"},
		"no state":         {map[string]any{"KeyState": ""}, Unavailable, "state"},
		"other region":     {map[string]any{"Arn": strings.Replace(testKeyARN, "eu-west-1", "us-east-2", 1)}, WrongRegion, "us-east-2, not eu-west-1"},
		"no ARN":           {map[string]any{"Arn": nil}, Unanswered, "endpoint"},
		"broken ARN":       {map[string]any{"Arn": "key/1"}, Unanswered, "endpoint"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			k := &wireKMS{status: 200, body: metadata(t, c.edits)}
			got, err := k.resolve(t, "alias/backup", "eu-west-1")
			wantKeyError(t, err, c.reason, c.says)
			if got != (Key{}) {
				t.Errorf("and yet returned %+v", got)
			}
		})
	}
}

func TestResolveKeyClassifiesAnswers(t *testing.T) {
	cases := map[string]struct {
		id, code string
		status   int
		reason   Reason
		says     string
	}{
		"unknown id":    {testID, "NotFoundException", 400, NotFound, "another account needs its full ARN"},
		"bare alias":    {"backup", "NotFoundException", 400, NotFound, "an alias is written alias/backup"},
		"alias":         {"alias/backup", "NotFoundException", 400, NoTarget, "aws kms list-aliases"},
		"alias ARN":     {"arn:aws:kms:eu-west-1:111122223333:alias/x", "NotFoundException", 400, NoTarget, "points to no key"},
		"denied":        {testKeyARN, "AccessDeniedException", 400, Denied, "kms:DescribeKey"},
		"invalid ARN":   {testKeyARN, "InvalidArnException", 400, Malformed, "arn:aws:kms:REGION"},
		"validation":    {testID, "ValidationException", 400, Malformed, "alias/NAME"},
		"internal":      {testID, "KMSInternalException", 500, Unanswered, "could not be described"},
		"expired token": {testID, "ExpiredTokenException", 400, Unanswered, "ExpiredTokenException"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			k := &wireKMS{status: c.status, body: fmt.Sprintf(`{"__type":%q,"message":"said so"}`, c.code)}
			_, err := k.resolve(t, c.id, "eu-west-1")
			wantKeyError(t, err, c.reason, c.says)
			if !strings.Contains(err.Error(), "said so") {
				t.Errorf("KMS's own words are missing in: %v", err)
			}
		})
	}
}

func TestResolveKeyAsksNothingAboutHopelessNames(t *testing.T) {
	cases := map[string]Reason{
		"": Malformed, "alias/": Malformed, "alias/ä": Malformed, "a b": Malformed, "a/b": Malformed,
		"arn:aws:kms": Malformed, "arn:aws:s3:::bucket": Malformed,
		"arn:aws:kms:eu-west-1::key/" + testID:                 Malformed,
		"arn:aws:kms:eu-west-1:111122223333:" + testID:         Malformed,
		"arn:aws:kms:eu-west-1:111122223333:key/":              Malformed,
		"arn:aws:kms:a.example/:111122223333:key/" + testID:    Malformed,
		"arn:aws:kms:eu-west-1:1 1:key/" + testID:              Malformed,
		"arn:a/b:kms:eu-west-1:111122223333:key/" + testID:     Malformed,
		"arn:aws:kms:us-east-2:111122223333:key/" + testID:     WrongRegion,
		"arn:aws:kms:us-east-2:111122223333:alias/backup":      WrongRegion,
		"arn:aws:kms:us-east-2:111122223333:key/" + testMRK:    WrongRegion,
		"arn:aws-cn:kms:cn-north-1:111122223333:key/" + testID: WrongRegion,
	}
	for id, reason := range cases {
		k := &wireKMS{status: 200, body: metadata(t, nil)}
		_, err := k.resolve(t, id, "eu-west-1")
		wantKeyError(t, err, reason, fmt.Sprintf("%q", id))
		if len(k.asked) != 0 {
			t.Errorf("%q: KMS was asked for %q", id, k.asked)
		}
		if strings.Contains(id, "mrk-") && !strings.Contains(err.Error(), "replica") {
			t.Errorf("%q: no word about replicas: %v", id, err)
		}
	}
}

func TestResolveKeyEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	client := NewKMS(aws.Config{Region: "eu-west-1", Credentials: aws.AnonymousCredentials{}}, "http://127.0.0.1:1")
	_, err := ResolveKey(ctx, client, testID, "")
	wantKeyError(t, err, Unanswered, "could not be described")
	if !errors.Is(err, context.Canceled) {
		t.Errorf("cause is lost: %v", err)
	}
}

func wantKeyError(t *testing.T, err error, reason Reason, says string) {
	t.Helper()
	var e *KeyError
	if !errors.As(err, &e) {
		t.Fatalf("error is %T (%v), not a KeyError", err, err)
	}
	if e.Reason != reason {
		t.Errorf("reason is %d, want %d: %v", e.Reason, reason, err)
	}
	if !strings.Contains(err.Error(), says) {
		t.Errorf("%q is not in: %v", says, err)
	}
}
