package wire

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/url"
	"sort"
	"strings"
)

// The rules of this file are those of https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html

const (
	algorithm  = "AWS4-HMAC-SHA256"
	terminator = "aws4_request"
	timeFormat = "20060102T150405Z"
	emptyHash  = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
)

// authorization is what a request says of its signature, in a header or in the query.
type authorization struct {
	accessKey     string
	date          string // of the scope: YYYYMMDD
	region        string
	service       string
	signedHeaders []string // lower case, sorted
	signature     string   // hex
}

// parseAuthorization reads the Authorization header.
func parseAuthorization(header string) (authorization, error) {
	rest, ok := strings.CutPrefix(header, algorithm)
	if !ok || rest == "" || (rest[0] != ' ' && rest[0] != '\t') {
		return authorization{}, fmt.Errorf("algorithm is not %s", algorithm)
	}
	fields := map[string]string{}
	for part := range strings.SplitSeq(rest, ",") {
		name, value, ok := strings.Cut(strings.Trim(part, " \t"), "=")
		if _, twice := fields[name]; !ok || twice {
			return authorization{}, fmt.Errorf("component %q is malformed or repeated", part)
		}
		fields[name] = value
	}
	if len(fields) != 3 {
		return authorization{}, fmt.Errorf("want Credential, SignedHeaders and Signature, got %d components", len(fields))
	}
	return newAuthorization(fields["Credential"], fields["SignedHeaders"], fields["Signature"])
}

// newAuthorization checks the three parts that header and query have in common.
func newAuthorization(credential, headers, signature string) (a authorization, err error) {
	// An access key may hold slashes on other servers, hence from the right.
	parts := strings.Split(credential, "/")
	if n := len(parts); n < 5 || parts[n-1] != terminator {
		return a, fmt.Errorf("credential is not ACCESS-KEY/YYYYMMDD/REGION/SERVICE/%s", terminator)
	}
	scope := parts[len(parts)-4:]
	a.accessKey = strings.Join(parts[:len(parts)-4], "/")
	a.date, a.region, a.service = scope[0], scope[1], scope[2]
	if a.accessKey == "" || len(a.date) != 8 || a.region == "" || a.service == "" {
		return a, fmt.Errorf("credential has an empty or malformed part")
	}
	a.signedHeaders = strings.Split(headers, ";")
	if headers == "" || headers != strings.ToLower(headers) || !sort.StringsAreSorted(a.signedHeaders) {
		return a, fmt.Errorf("signed headers are not a sorted list in lower case")
	}
	if raw, err := hex.DecodeString(signature); err != nil || len(raw) != sha256.Size || signature != strings.ToLower(signature) {
		return a, fmt.Errorf("signature is not 64 lower-case hexadecimal digits")
	}
	a.signature = signature
	return a, nil
}

// String returns the Authorization header that parses to a.
func (a authorization) String() string {
	return fmt.Sprintf("%s Credential=%s/%s, SignedHeaders=%s, Signature=%s",
		algorithm, a.accessKey, a.scope(), strings.Join(a.signedHeaders, ";"), a.signature)
}

func (a authorization) scope() string {
	return strings.Join([]string{a.date, a.region, a.service, terminator}, "/")
}

// signer signs strings in one credential scope.
type signer struct {
	key   []byte
	time  string // X-Amz-Date
	scope string
}

func newSigner(secret, time string, a authorization) signer {
	key := []byte("AWS4" + secret)
	for _, part := range []string{a.date, a.region, a.service, terminator} {
		key = mac(key, part)
	}
	return signer{key: key, time: time, scope: a.scope()}
}

// sign returns the hexadecimal signature over the lines that follow algorithm, time and scope.
func (s signer) sign(algorithm string, lines ...string) string {
	text := strings.Join(append([]string{algorithm, s.time, s.scope}, lines...), "\n")
	return hex.EncodeToString(mac(s.key, text))
}

func mac(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}

func hexSHA256(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// canonicalQuery sorts and re-encodes a raw query, without the signature of a presigned URL.
func canonicalQuery(raw string) (string, error) {
	var pairs []string
	for part := range strings.SplitSeq(raw, "&") {
		if part == "" {
			continue
		}
		name, value, _ := strings.Cut(part, "=")
		name, err := url.QueryUnescape(name)
		if err != nil {
			return "", err
		}
		if value, err = url.QueryUnescape(value); err != nil {
			return "", err
		}
		if name != "X-Amz-Signature" {
			pairs = append(pairs, escape(name, false)+"="+escape(value, false))
		}
	}
	// '=' sorts after '-' and '.', which may follow in a longer name, hence by name first.
	sort.Slice(pairs, func(i, j int) bool {
		a, x, _ := strings.Cut(pairs[i], "=")
		b, y, _ := strings.Cut(pairs[j], "=")
		return a < b || a == b && x < y
	})
	return strings.Join(pairs, "&"), nil
}

// escape is AWS's UriEncode: everything but unreserved characters, and slashes if they are kept.
func escape(s string, slashes bool) string {
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9',
			c == '-', c == '.', c == '_', c == '~', c == '/' && slashes:
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}
