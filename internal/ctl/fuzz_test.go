package ctl

import (
	"encoding/json"
	"net"
	"strings"
	"testing"
)

// FuzzRequest: whatever a client sends, it is one request or an error, and no
// more is read than a request can have.
func FuzzRequest(f *testing.F) {
	f.Add([]byte(`{"op":"unmount","force":true}` + "\n"))
	f.Add([]byte(`{"op":"inspect","key":"../../x","verify":"full"}` + "\n{}"))
	f.Add([]byte("null\n"))
	f.Add([]byte(`{"op":1}` + "\n"))
	f.Add([]byte(strings.Repeat("[", maxRequest+9)))
	f.Fuzz(func(t *testing.T, sent []byte) {
		client, server := net.Pipe()
		go func() {
			defer client.Close()
			_, _ = client.Write(sent)
		}()
		r, err := readRequest(t.Context(), server)
		server.Close()
		if err != nil {
			return
		}
		line, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		var again Request
		if err := json.Unmarshal(line, &again); err != nil || again != r {
			t.Errorf("%q is %+v, and then %+v (%v)", sent, r, again, err)
		}
	})
}
