package s3io

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
)

// expectation is what the answer to a creating request must prove.
type expectation struct {
	none      bool // whatever it says is right: content is sealed before it is sent
	algorithm string
	key       string // "" until the probe's answer pins it, and in mode AES256
	loose     bool   // a server that answers with shortened forms: the key id part decides
	bucketKey *bool  // nil: whatever the bucket says
	context   string // as sent
}

// proof is what an answer says about the encryption of what was created.
type proof struct {
	Encryption
	context string // base64 JSON; "" where the answer has none
}

// silent reports that an answer says nothing at all.
func (p proof) silent() bool { return p.Algorithm == "" && p.KeyID == "" }

// fault says why p does not prove the policy; "" if it does. The bucket key is
// no part of it: it costs money, not secrecy.
func (e expectation) fault(p proof) string {
	switch {
	case e.none:
		return ""
	case p.silent():
		return fmt.Sprintf("the answer names no encryption, %s is required", e.algorithm)
	case p.Algorithm != e.algorithm:
		return fmt.Sprintf("the answer says %s, %s is required", quoted(p.Algorithm), e.algorithm)
	case e.algorithm != ModeKMS && e.algorithm != ModeDSSE:
		return ""
	case p.KeyID == "":
		return "the answer names no KMS key"
	case e.key != "" && !sameKey(e.key, p.KeyID, e.loose):
		return fmt.Sprintf("the answer names the KMS key %s, %s is required", p.KeyID, e.key)
	case p.context != "" && !holdsContext(p.context, e.context):
		return "the answer names another encryption context than was sent"
	}
	return ""
}

func quoted(s string) string {
	if s == "" {
		return "no algorithm"
	}
	return s
}

// holdsContext reports whether the context got has every pair that was sent.
// S3 adds pairs of its own (aws:s3:arn).
func holdsContext(got, sent string) bool {
	if sent == "" || got == sent {
		return true
	}
	g, s := contextPairs(got), contextPairs(sent)
	for name, value := range s {
		if v, ok := g[name]; !ok || v != value {
			return false
		}
	}
	return s != nil
}

func contextPairs(header string) map[string]string {
	text, err := base64.StdEncoding.DecodeString(header)
	if err != nil {
		return nil
	}
	var pairs map[string]string
	if json.Unmarshal(text, &pairs) != nil {
		return nil
	}
	return pairs
}

// sameKey compares the key that is wanted with the one that was answered. AWS
// always answers with the key's ARN; other servers shorten it ("arn:aws:kms:NAME"),
// and only for them loose compares the last part.
func sameKey(want, got string, loose bool) bool {
	if want == got {
		return true
	}
	if !loose || isKeyARN(want) && isKeyARN(got) {
		return false
	}
	return keyPart(want) == keyPart(got) && keyPart(got) != ""
}

// isKeyARN reports whether s has the full form arn:aws:kms:REGION:ACCOUNT:key/ID.
func isKeyARN(s string) bool {
	parts := strings.SplitN(s, ":", 6)
	return len(parts) == 6 && parts[0] == "arn" && parts[2] == "kms" && strings.HasPrefix(parts[5], "key/")
}

// keyPart returns the id at the end of any form of a key's name.
func keyPart(s string) string {
	if i := strings.LastIndexByte(s, ':'); i >= 0 {
		s = s[i+1:]
	}
	return strings.TrimPrefix(s, "key/")
}

// isAlias reports whether s names an alias, as name or as ARN.
func isAlias(s string) bool { return strings.HasPrefix(keyPart(s), "alias/") }

// countBucketKey counts an object whose bucket key differs from the policy's,
// and warns about the first.
func (b *Bucket) countBucketKey(key string, p proof) {
	want := b.expectation().bucketKey
	if want == nil || *want == p.BucketKey {
		return
	}
	if b.counters.bucketKey.Add(1) == 1 {
		b.warn(fmt.Sprintf("%q was stored with bucket key %s although the policy says %s: that costs KMS requests, not secrecy",
			key, onOff(p.BucketKey), onOff(*want)))
	}
}

func onOff(on bool) string {
	if on {
		return "on"
	}
	return "off"
}
