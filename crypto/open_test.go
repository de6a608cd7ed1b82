package crypto

import (
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"

	"github.com/kmsfs/kmsfs/internal/sandbox"
	"github.com/kmsfs/kmsfs/internal/sandbox/kms"
	"github.com/kmsfs/kmsfs/internal/sandbox/wire"
)

// message returns the header of a message as o's Keyring seals it.
func (b *bench) message(edit func(*KeyringOptions), key string) *Header {
	b.t.Helper()
	h := b.seal(b.keyring(edit), key)
	b.cache.Flush()
	b.Log.Reset()
	return h
}

func TestOpenAsksNothingAboutForeignMessages(t *testing.T) {
	b := newBench(t)
	foreign := b.create(kms.KeyOptions{})
	elsewhere := func(o *KeyringOptions) { o.Bucket = otherBucket }
	perObject := func(o *KeyringOptions) { o.Scope = ScopeObject }
	none := func(*KeyringOptions) {}
	cases := map[string]struct {
		sealed, opens func(*KeyringOptions)
		says          string
	}{
		"foreign key":        {func(o *KeyringOptions) { o.Keys = []Key{foreign} }, none, "--allow-key-id"},
		"other bucket":       {elsewhere, none, "--accept-context-bucket"},
		"longer bucket":      {func(o *KeyringOptions) { o.Bucket = testBucket + "2" }, none, otherOrThis(testBucket + "2")},
		"other object":       {perObject, none, testBucket + "/other"},
		"object, not bucket": {none, perObject, testBucket + "/key"},
		"of other bucket":    {func(o *KeyringOptions) { o.Bucket, o.Scope = otherBucket, ScopeObject }, none, otherBucket + "/other"},
	}
	for name, c := range cases {
		for _, cached := range []bool{true, false} {
			h := b.message(c.sealed, "other")
			k := b.keyring(func(o *KeyringOptions) {
				c.opens(o)
				if !cached {
					o.Cache = nil
				}
			})
			_, err := k.Open(t.Context(), h, "key")
			wantKeyError(t, err, NotAccepted, c.says)
			if n := len(b.Log.Requests()); n != 0 {
				t.Errorf("%s: KMS had %d requests", name, n)
			}
		}
	}
}

// otherOrThis is how an error names what the message is bound to.
func otherOrThis(bound string) string {
	return fmt.Sprintf("bound to %q, not to %q", bound, testBucket)
}

func TestOpenRefusesMessagesWithoutContextOrKMS(t *testing.T) {
	b := newBench(t)
	k := b.keyring(nil)
	s, err := newSealer(make([]byte, dataKeySize), map[string]string{}, []EDK{{Provider: providerKMS, Info: b.key.ARN, Blob: []byte("x")}})
	if err != nil {
		t.Fatal(err)
	}
	_, err = k.Open(t.Context(), s.Header(), "key")
	wantKeyError(t, err, NotAccepted, "aws:s3:arn")
	s, err = newSealer(make([]byte, dataKeySize), k.pairs("key"), []EDK{{Provider: "raw", Info: "x", Blob: []byte("x")}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err = k.Open(t.Context(), s.Header(), "key"); !errors.Is(err, ErrForeign) {
		t.Errorf("a message without KMS: %v", err)
	}
	b.calls(0, 0)
}

// TestAnyKeyIsStillAKey: what stands in a header becomes the name of a host.
func TestAnyKeyIsStillAKey(t *testing.T) {
	b := newBench(t)
	k := b.keyring(func(o *KeyringOptions) { o.Keys, o.AnyKey = nil, true })
	for _, info := range []string{"", "x", testID, "arn:aws:kms:a.example/:111122223333:key/x", "arn:aws:kms:eu-west-1:111122223333:alias/x", "arn:aws:s3:::bucket"} {
		s, err := newSealer(make([]byte, dataKeySize), k.pairs("key"), []EDK{{Provider: providerKMS, Info: info, Blob: []byte("x")}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := k.Open(t.Context(), s.Header(), "key"); err == nil || Passing(err) {
			t.Errorf("%q: %v", info, err)
		}
	}
	b.calls(0, 0)
}

func TestOpenAcceptsWhatItIsToldTo(t *testing.T) {
	b := newBench(t)
	foreign := b.create(kms.KeyOptions{})
	inObject := func(o *KeyringOptions) { o.Scope = ScopeObject }
	cases := map[string]struct{ sealed, opens func(*KeyringOptions) }{
		"allowed key":    {func(o *KeyringOptions) { o.Keys = []Key{foreign} }, func(o *KeyringOptions) { o.Allowed = []string{foreign.ARN} }},
		"any key":        {func(o *KeyringOptions) { o.Keys = []Key{foreign} }, func(o *KeyringOptions) { o.Keys, o.AnyKey = nil, true }},
		"other bucket":   {func(o *KeyringOptions) { o.Bucket = otherBucket }, func(o *KeyringOptions) { o.Accept = []string{otherBucket} }},
		"any context":    {func(o *KeyringOptions) { o.Bucket = otherBucket }, func(o *KeyringOptions) { o.Bucket, o.AnyContext = "", true }},
		"object":         {inObject, inObject},
		"object, bucket": {inObject, func(*KeyringOptions) {}},
		"replica": {func(o *KeyringOptions) { o.Bucket, o.Scope = otherBucket, ScopeObject },
			func(o *KeyringOptions) { o.Accept, o.Scope = []string{otherBucket}, ScopeObject }},
		"user pairs": {func(o *KeyringOptions) { o.Context = map[string]string{"team": "a"} },
			func(o *KeyringOptions) { o.Context = map[string]string{"team": "b"} }},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			h := b.message(c.sealed, "key")
			if name == "user pairs" && !maps.Equal(h.Context(), map[string]string{"team": "a", boundTo: testBucket}) {
				t.Errorf("context is %v", h.Context())
			}
			k := b.keyring(c.opens)
			b.open(k, h, "key")
			b.open(k, h, "key")
			b.calls(0, 1)
		})
	}
}

// TestOpenAsksTheReplicaOfOurRegion seals under a multi-region key and opens
// with its replica; of other keys no region stands for another.
func TestOpenAsksTheReplicaOfOurRegion(t *testing.T) {
	b := newBench(t)
	b.key = b.create(kms.KeyOptions{MultiRegion: true})
	replica, err := b.KMS.Replicate(b.key.ARN, farRegion)
	if err != nil {
		t.Fatal(err)
	}
	h := b.message(nil, "key")
	b.open(b.keyring(func(o *KeyringOptions) { o.Keys = []Key{{ARN: replica}} }), h, "key")
	b.calls(0, 1)
	if r := b.Log.Requests()[0]; r.Key != replica {
		t.Errorf("KMS was asked for %s", r.Key)
	}
	for _, pair := range [][2]string{
		{b.key.ARN, strings.Replace(b.key.ARN, sandbox.Account, "999988887777", 1)},
		{b.key.ARN, strings.Replace(b.key.ARN, "arn:aws:", "arn:aws-cn:", 1)},
		{b.key.ARN, b.key.ARN[:len(b.key.ARN)-1] + "x"},
		{testKeyARN, strings.Replace(testKeyARN, farRegion, sandbox.Region, 1)},
	} {
		if sameKey(pair[0], pair[1]) || sameKey(pair[1], pair[0]) {
			t.Errorf("%s and %s pass for one key", pair[0], pair[1])
		}
	}
}

func TestOpenTriesEveryAcceptedKey(t *testing.T) {
	b := newBench(t)
	second := b.create(kms.KeyOptions{Region: farRegion})
	both := func(o *KeyringOptions) { o.Keys = []Key{b.key, second} }
	for name, off := range map[string]func() (undo func()){
		"denied":   func() func() { return b.Denials.Deny("kms:"+opDecrypt, b.key.ARN) },
		"disabled": func() func() { _ = b.KMS.Disable(b.key.ARN); return func() { _ = b.KMS.Enable(b.key.ARN) } },
		"outage":   func() func() { return b.Faults.Add(wire.Fault{Op: opDecrypt, Key: b.key.ARN}).Remove },
	} {
		t.Run(name, func(t *testing.T) {
			h := b.message(both, "key")
			undo := off()
			defer undo()
			k := b.keyring(both)
			for range 5 {
				b.open(k, h, "key") // once of each key: what one has opened is kept
			}
			b.calls(0, 2)
		})
	}

	h := b.message(both, "key")
	b.Denials.Deny("kms:"+opDecrypt, b.key.ARN)
	b.Faults.Add(wire.Fault{Op: opDecrypt, Key: second.ARN})
	_, err := b.keyring(both).Open(t.Context(), h, "key")
	b.refused(err, Unanswered) // with the second key up it may work again
	for _, key := range []Key{b.key, second} {
		if !strings.Contains(err.Error(), key.ARN) {
			t.Errorf("%s is not named: %v", key.ARN, err)
		}
	}
}

// TestRefusalsDropCachedKeys: those of the refused KMS key, and no others.
func TestRefusalsDropCachedKeys(t *testing.T) {
	b := newBench(t)
	second := b.create(kms.KeyOptions{})
	perObject := func(o *KeyringOptions) { o.KeyPerObject = true }
	other := b.message(func(o *KeyringOptions) { o.Keys = []Key{second} }, "key")
	old, fresh := b.message(perObject, "key"), b.message(perObject, "key")
	k := b.keyring(func(o *KeyringOptions) { o.Allowed = []string{second.ARN} })
	b.open(k, old, "key")
	b.open(k, other, "key")
	current := b.seal(k, "key")
	undo := b.Denials.Deny("kms:"+opDecrypt, b.key.ARN)
	b.open(k, old, "key") // in memory
	_, err := k.Open(t.Context(), fresh, "key")
	wantKeyError(t, err, Denied, "kms:Decrypt")
	_, err = k.Open(t.Context(), old, "key")
	b.refused(err, Denied)
	b.open(k, other, "key")
	if h := b.seal(k, "key"); blob(h) != blob(current) {
		t.Error("who may not read lost the key for writing")
	}
	undo()
	_ = b.KMS.Disable(b.key.ARN)
	_, err = k.Open(t.Context(), old, "key")
	b.refused(err, Disabled)
	if k.write.Load() != nil {
		t.Error("a disabled key is used for writing")
	}
}

func TestWriteOnlyNeverDecrypts(t *testing.T) {
	b := newBench(t)
	h := b.message(nil, "key")
	for _, cached := range []bool{true, false} {
		k := b.keyring(func(o *KeyringOptions) {
			o.WriteOnly = true
			if !cached {
				o.Cache = nil
			}
		})
		if err := k.Check(t.Context()); err != nil {
			t.Fatal(err)
		}
		b.open(k, b.seal(k, "key"), "key") // its key is in memory
		_, err := k.Open(t.Context(), h, "key")
		wantKeyError(t, err, Denied, "--write-only")
		_, _, err = k.Rewrap(t.Context(), h, "key", testKeyARN)
		wantKeyError(t, err, Denied, "--write-only")
	}
	b.calls(2, 0)
}

func TestKeyPerObject(t *testing.T) {
	b := newBench(t)
	for _, edit := range []func(*KeyringOptions){
		func(o *KeyringOptions) { o.KeyPerObject = true },
		func(o *KeyringOptions) { o.Scope = ScopeObject },
	} {
		b.Log.Reset()
		k := b.keyring(edit)
		blobs := map[string]bool{}
		for i := range 100 {
			key := fmt.Sprint("dir/", i)
			h := b.seal(k, key)
			blobs[blob(h)] = true
			b.open(k, h, key)
		}
		if len(blobs) != 100 || k.Stats().Saved != 100 {
			t.Errorf("%d data keys for 100 objects, %+v", len(blobs), k.Stats())
		}
		b.calls(100, 0)
	}
}

func TestOpenWithoutCacheAlwaysAsks(t *testing.T) {
	b := newBench(t)
	k := b.keyring(func(o *KeyringOptions) { o.Cache = nil })
	h := b.seal(k, "key")
	for range 3 {
		b.open(k, h, "key")
	}
	b.calls(1, 3)
}

func TestConcurrentOpensAskOnce(t *testing.T) {
	b := newBench(t)
	h := b.message(nil, "key")
	k := b.keyring(nil)
	rule := b.Faults.Add(wire.Fault{Op: opDecrypt, Kind: wire.Hang})
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() { b.open(k, h, "key") })
	}
	if err := b.Log.Wait(t.Context(), opDecrypt, 1); err != nil {
		t.Fatal(err)
	}
	rule.Release()
	wg.Wait()
	b.calls(0, 1)
}

func TestRequestErrorsAreClassified(t *testing.T) {
	cases := map[string]struct {
		status int
		reason Reason
		says   string
	}{
		"AccessDeniedException":       {400, Denied, "kms:Decrypt"},
		"InvalidGrantTokenException":  {400, Denied, "grant"},
		"DisabledException":           {400, Disabled, "enable-key"},
		"KMSInvalidStateException":    {400, Unavailable, "cancel-key-deletion"},
		"NotFoundException":           {400, NotFound, "region"},
		"IncorrectKeyException":       {400, Mismatch, "did not wrap"},
		"InvalidKeyUsageException":    {400, Asymmetric, "SYMMETRIC_DEFAULT"},
		"ValidationException":         {400, Malformed, "form"},
		"InvalidArnException":         {400, Malformed, "form"},
		"ThrottlingException":         {400, Unanswered, "Decrypt"},
		"LimitExceededException":      {400, Unanswered, "Decrypt"},
		"DependencyTimeoutException":  {500, Unanswered, "Decrypt"},
		"KMSInternalException":        {500, Unanswered, "Decrypt"},
		"KeyUnavailableException":     {500, Unanswered, "Decrypt"},
		"UnrecognizedClientException": {400, Unanswered, "Decrypt"},
		"ServiceUnavailable":          {503, Unanswered, "Decrypt"},
	}
	b := newBench(t)
	h := b.message(nil, "key")
	for code, c := range cases {
		rule := b.Faults.Add(wire.Fault{Op: opDecrypt, Kind: wire.Answer, Status: c.status, Code: code, Message: "said so"})
		_, err := b.keyring(nil).Open(t.Context(), h, "key")
		wantKeyError(t, err, c.reason, c.says)
		wantKeyError(t, err, c.reason, "said so")
		rule.Remove()
	}
	rule := b.Faults.Add(wire.Fault{Op: opDecrypt, Kind: wire.Answer, Status: 400, Code: "InvalidCiphertextException"})
	if _, err := b.keyring(nil).Open(t.Context(), h, "key"); !errors.Is(err, ErrTampered) {
		t.Errorf("InvalidCiphertextException: %v", err)
	}
	rule.Remove()
}
