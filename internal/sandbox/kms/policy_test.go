package kms

import "testing"

func TestPolicy(t *testing.T) {
	const alice, bob = "arn:aws:iam::111122223333:user/alice", "arn:aws:iam::444455556666:user/bob"
	statement := func(s string) string { return `{"Version":"2012-10-17","Statement":[` + s + `]}` }
	for _, c := range []struct {
		name, policy string
		alice, bob   bool // may do kms:Decrypt
		refused      bool
	}{
		{"default", defaultPolicy("111122223333"), true, false, false},
		{"managed", managedPolicy("111122223333"), false, false, false},
		{"user", statement(`{"Effect":"Allow","Principal":{"AWS":"` + bob + `"},"Action":"kms:Decrypt","Resource":"*"}`), false, true, false},
		{"all", statement(`{"Effect":"Allow","Principal":"*","Action":["kms:Enc*","kms:Dec*"],"Resource":"*"}`), true, true, false},
		{"other action", statement(`{"Effect":"Allow","Principal":"*","Action":"kms:Encrypt","Resource":"*"}`), false, false, false},
		{"deny wins", statement(`{"Effect":"Allow","Principal":"*","Action":"kms:*"},{"Effect":"Deny","Principal":{"AWS":["` + bob + `"]},"Action":"kms:Decrypt"}`), true, false, false},
		{"service", statement(`{"Effect":"Allow","Principal":{"Service":"s3.amazonaws.com"},"Action":"kms:*"}`), false, false, false},
		{"condition", statement(`{"Effect":"Allow","Principal":"*","Action":"kms:*","Condition":{"Bool":{"a":"true"}}}`), false, false, true},
		{"effect", statement(`{"Effect":"allow","Principal":"*","Action":"kms:*"}`), false, false, true},
		{"no action", statement(`{"Effect":"Allow","Principal":"*"}`), false, false, true},
		{"empty", `{}`, false, false, true},
		{"not JSON", `kms:*`, false, false, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, err := parsePolicy(c.policy)
			if (err != nil) != c.refused {
				t.Fatalf("parsed with %v", err)
			}
			if err == nil && (p.allows(alice, "kms:Decrypt") != c.alice || p.allows(bob, "kms:Decrypt") != c.bob) {
				t.Errorf("alice %v, bob %v", p.allows(alice, "kms:Decrypt"), p.allows(bob, "kms:Decrypt"))
			}
		})
	}
}
