package s3io

import (
	"crypto/tls"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestTLSIsDemandedAndProven: whoever stands on the way and cannot prove that
// they are the server learns nothing, and neither does an old protocol.
func TestTLSIsDemandedAndProven(t *testing.T) {
	environment(t, map[string]string{"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_REGION": "us-east-1"})
	for name, c := range map[string]struct {
		trusted bool
		host    string
		config  *tls.Config
		asked   bool
	}{
		"proven":        {trusted: true, host: "127.0.0.1", asked: true},
		"unknown":       {host: "127.0.0.1"},
		"another's":     {trusted: true, host: "localhost"}, // the certificate names example.com and 127.0.0.1
		"TLS 1.1":       {trusted: true, host: "127.0.0.1", config: &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}},
		"only TLS 1.2":  {trusted: true, host: "127.0.0.1", config: &tls.Config{MaxVersion: tls.VersionTLS12}, asked: true},
		"only TLS 1.3":  {trusted: true, host: "127.0.0.1", config: &tls.Config{MinVersion: tls.VersionTLS13}, asked: true},
		"no encryption": {trusted: true, host: "127.0.0.1", config: &tls.Config{MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_RSA_WITH_RC4_128_SHA}}},
	} {
		t.Run(name, func(t *testing.T) {
			asked := make(chan string, 100)
			server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				asked <- r.Method
				w.WriteHeader(http.StatusForbidden)
			}))
			server.TLS = c.config
			server.StartTLS()
			defer server.Close()
			o := Options{Bucket: "demo", Endpoint: strings.Replace(server.URL, "127.0.0.1", c.host, 1), PathStyle: true, LookupTimeout: testTime}
			if c.trusted {
				o.CABundle = filepath.Join(t.TempDir(), "ca.pem")
				text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
				if err := os.WriteFile(o.CABundle, text, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			_, err := Open(t.Context(), o)
			if err == nil {
				t.Error("opened")
			}
			if was := len(asked) > 0; was != c.asked {
				t.Errorf("a request was received: %v, want %v (%v)", was, c.asked, err)
			}
		})
	}
}
