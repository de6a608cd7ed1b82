package sandbox

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

const (
	caName    = "ca.pem"
	caKeyName = "ca-key.pem"
	year      = 365 * 24 * time.Hour
)

// An authority is the certificate authority of one sandbox. It is kept in the sandbox's directory, so that clients
// that trust it go on doing so when the sandbox is started again.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// openAuthority reads the authority from dir, or makes one that lasts ten years.
func openAuthority(dir string) (authority, error) {
	a, err := readAuthority(dir)
	if err == nil || !errors.Is(err, fs.ErrNotExist) {
		return a, err
	}
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: "kmsfs sandbox CA"},
		IsCA:    true, BasicConstraintsValid: true, MaxPathLenZero: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		NotAfter: time.Now().Add(10 * year),
	}
	if a.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		return authority{}, err
	}
	der, err := sign(template, template, a.key, a.key)
	if err != nil {
		return authority{}, err
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		return authority{}, err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(a.key)
	if err != nil {
		return authority{}, err
	}
	// The key first: a certificate without its key would be an error for ever.
	if err := os.WriteFile(filepath.Join(dir, caKeyName), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}), 0o600); err != nil {
		return authority{}, err
	}
	return a, os.WriteFile(filepath.Join(dir, caName), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644)
}

// readAuthority reads what openAuthority wrote; fs.ErrNotExist says that there is none.
func readAuthority(dir string) (authority, error) {
	name := filepath.Join(dir, caName)
	cert, err := os.ReadFile(name)
	if err != nil {
		return authority{}, err
	}
	key, err := os.ReadFile(filepath.Join(dir, caKeyName))
	if err != nil {
		return authority{}, fmt.Errorf("read the key of %s: %v", name, err) // not as absent: that would replace the CA
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return authority{}, fmt.Errorf("read the sandbox's CA from %s: %w", name, err)
	}
	private, ok := pair.PrivateKey.(*ecdsa.PrivateKey)
	if !ok {
		return authority{}, fmt.Errorf("read the sandbox's CA from %s: not an ECDSA key", name)
	}
	return authority{pair.Leaf, private}, nil
}

// issue makes a certificate for the loopback names, bucket names under localhost, and host.
func (a authority) issue(host string) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{
		Subject:     pkix.Name{CommonName: "kmsfs sandbox"},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames:    []string{"localhost", "*.localhost"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
		NotAfter:    time.Now().Add(year),
	}
	switch ip := net.ParseIP(host); {
	case ip != nil && !ip.IsUnspecified() && !ip.IsLoopback():
		template.IPAddresses = append(template.IPAddresses, ip)
	case ip == nil && host != "" && host != "localhost":
		template.DNSNames = append(template.DNSNames, host, "*."+host)
	}
	der, err := sign(template, a.cert, key, a.key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}

// sign signs the template, whose serial number and start it fills in.
func sign(template, parent *x509.Certificate, key, signer *ecdsa.PrivateKey) ([]byte, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, err
	}
	template.SerialNumber, template.NotBefore = serial, time.Now().Add(-time.Hour)
	return x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
}
