package kms

import "slices"

// States of a key: https://docs.aws.amazon.com/kms/latest/developerguide/key-state.html
const (
	stateEnabled  = "Enabled"
	stateDisabled = "Disabled"
	statePending  = "PendingDeletion"
)

const (
	symmetric      = "SYMMETRIC_DEFAULT"
	usageEncrypt   = "ENCRYPT_DECRYPT"
	usageSign      = "SIGN_VERIFY"
	usageMAC       = "GENERATE_VERIFY_MAC"
	usageAgreement = "KEY_AGREEMENT"
)

// algorithms are what a key of a spec and usage offers; all lists empty means that there is no such key.
type algorithms struct{ encryption, signing, mac, agreement []string }

func (a algorithms) none() bool {
	return len(a.encryption)+len(a.signing)+len(a.mac)+len(a.agreement) == 0
}

// algorithmsOf follows https://docs.aws.amazon.com/kms/latest/developerguide/symm-asymm-choose-key-spec.html
func algorithmsOf(spec, usage string) (a algorithms) {
	switch {
	case spec == symmetric && usage == usageEncrypt:
		a.encryption = []string{symmetric}
	case slices.Contains([]string{"RSA_2048", "RSA_3072", "RSA_4096"}, spec) && usage == usageEncrypt:
		a.encryption = []string{"RSAES_OAEP_SHA_1", "RSAES_OAEP_SHA_256"}
	case slices.Contains([]string{"RSA_2048", "RSA_3072", "RSA_4096"}, spec) && usage == usageSign:
		a.signing = []string{"RSASSA_PKCS1_V1_5_SHA_256", "RSASSA_PKCS1_V1_5_SHA_384", "RSASSA_PKCS1_V1_5_SHA_512",
			"RSASSA_PSS_SHA_256", "RSASSA_PSS_SHA_384", "RSASSA_PSS_SHA_512"}
	case spec == "ECC_SECG_P256K1" && usage == usageSign:
		a.signing = []string{"ECDSA_SHA_256"}
	case usage == usageSign || usage == usageAgreement:
		hash := map[string]string{"ECC_NIST_P256": "256", "ECC_NIST_P384": "384", "ECC_NIST_P521": "512"}[spec]
		if hash != "" && usage == usageSign {
			a.signing = []string{"ECDSA_SHA_" + hash}
		} else if hash != "" {
			a.agreement = []string{"ECDH"}
		}
	case usage == usageMAC && slices.Contains([]string{"HMAC_224", "HMAC_256", "HMAC_384", "HMAC_512"}, spec):
		a.mac = []string{"HMAC_SHA_" + spec[len("HMAC_"):]}
	}
	return a
}
