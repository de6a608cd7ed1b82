package wiretest

import (
	"strings"
	"testing"
)

func TestDiff(t *testing.T) {
	const (
		key   = `"arn:aws:kms:us-west-2:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"`
		other = `"arn:aws:kms:us-east-1:000000000000:key/11111111-2222-3333-4444-555555555555"`
	)
	for _, c := range []struct {
		name, want, got string
		differs         string // part of the only difference; empty: none
	}{
		{"values differ", `{"KeyId":` + key + `,"N":1}`, `{"KeyId":` + other + `,"N":2.5}`, ""},
		{"field missing", `{"A":"some text"}`, `{}`, ".A: documented, but missing"},
		{"field too many", `{}`, `{"A":"x"}`, ".A: not documented"},
		{"type", `{"A":1}`, `{"A":"1"}`, ".A: string"},
		{"bool", `{"A":true}`, `{"A":false}`, ".A: false"},
		{"enum", `{"A":"Enabled"}`, `{"A":"Disabled"}`, ".A:"},
		{"enum in capitals", `{"A":"SYMMETRIC_DEFAULT"}`, `{"A":"RSA_2048"}`, ".A:"},
		{"arn of another kind", `{"A":` + key + `}`, `{"A":"arn:aws:kms:us-east-1:000000000000:alias/x"}`, ".A:"},
		{"id for arn", `{"A":` + key + `}`, `{"A":"11111111-2222-3333-4444-555555555555"}`, ".A:"},
		{"empty text", `{"A":"some text"}`, `{"A":""}`, ".A:"},
		{"base64", `{"A":"` + strings.Repeat("QUJD", 12) + `"}`, `{"A":"not base64!"}`, ".A:"},
		{"elements", `{"A":[{"B":1}]}`, `{"A":[{"B":1},{"C":1}]}`, ""},
		{"empty array", `{"A":[1]}`, `{"A":[]}`, ".A: empty"},
		{"no body", ``, `{}`, "body is"},
		{"xml", `<E><Code>NoSuchKey</Code><M>a b</M></E>`, `<?xml version="1.0"?><E><M>c d e</M><Code>NoSuchKey</Code></E>`, ""},
		{"xml code", `<E><Code>NoSuchKey</Code></E>`, `<E><Code>AccessDenied</Code></E>`, ".E[0].Code[0]"},
		{"xml repeats", `<E><P><N>1</N></P></E>`, `<E><P><N>1</N></P><P><N>2</N></P></E>`, ""},
		{"xml root", `<A>x</A>`, `<B>x</B>`, ".A: documented"},
	} {
		t.Run(c.name, func(t *testing.T) {
			all := Diff(c.want, c.got)
			switch {
			case c.differs == "" && c.name != "elements" && len(all) > 0:
				t.Errorf("no difference wanted, got %q", all)
			case c.name == "elements" && len(all) != 2: // B is missing from the second, C is not documented
				t.Errorf("want two differences, got %q", all)
			case c.differs != "" && (len(all) == 0 || !strings.Contains(all[0], c.differs)):
				t.Errorf("want a difference at %q, got %q", c.differs, all)
			}
		})
	}
}

func TestParse(t *testing.T) {
	tr, err := Parse("# source: the page\nPUT /a?b={{x}} HTTP/1.1\nX-Amz-Foo: {{x}}\n\n{{x}}\nsecond\n---\nHTTP/1.1 204 No Content\nEtag: \"q\"\n")
	if err != nil {
		t.Fatal(err)
	}
	tr = tr.Expand(map[string]string{"x": "1"})
	if tr.Source != "the page" || tr.Method != "PUT" || tr.Target != "/a?b=1" || tr.Header.Get("x-amz-foo") != "1" ||
		tr.Body != "1\nsecond" || tr.Status != 204 || tr.AnswerHeader.Get("Etag") != `"q"` || tr.Answer != "" {
		t.Errorf("parsed %+v", tr)
	}
	for _, bad := range []string{
		"GET / HTTP/1.1\n\n---\nHTTP/1.1 200 OK\n",                  // no source
		"# source: x\nGET / HTTP/1.1\n",                             // no answer
		"# source: x\nGET /\n---\nHTTP/1.1 200 OK\n",                // request line
		"# source: x\nGET / HTTP/1.1\n---\nHTTP/1.1 many OK\n",      // status
		"# source: x\nGET / HTTP/1.1\nnone\n---\nHTTP/1.1 200 OK\n", // header
	} {
		if _, err := Parse(bad); err == nil {
			t.Errorf("Parse(%q) took it", bad)
		}
	}
}
