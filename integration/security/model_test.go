package security

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/kmsfs/kmsfs/integration/harness"
)

// claims maps each claim of docs/SECURITY-MODEL.md to its tests: files, and the
// functions in them.
var claims = map[string][]string{
	"Connections need TLS 1.2 or later and a proven certificate.":                        {"s3io/tls_test.go TestTLSIsDemandedAndProven", "integration/security/model_test.go TestNothingSwitchesTLSOff"},
	"Plain http is refused beyond loopback.":                                             {"s3io/open_test.go TestOpenRefuses"},
	"No redirect is followed.":                                                           {"s3io/redirect_test.go TestRedirectsAreNotFollowed TestRedirectsAtOpen TestRedirectsOfKMS TestRedirectsOfCredentials"},
	"No name of a bucket moves a request to another host.":                               {"s3io/redirect_test.go TestNamesOfBucketsNameNoHosts", "cmd/kmsfs/foreign_fuzz_test.go FuzzSource"},
	"A changed byte of a sealed object is noticed before any of its frame is read.":      {"crypto/frame_test.go TestFlippedBitsOfFrames TestFailedOpenLeavesNoPlaintext", "integration/envelope_planted_test.go plantedObjects"},
	"In envelope mode they see sealed bytes alone.":                                      {"integration/envelope_secrets_test.go nothingReadableLeaves", "s3io/guard_body_test.go TestNoContentLeavesUnsealed TestTheGuardStandsBeforeTheServer"},
	"A server that ignores the encryption headers is refused before anything is stored.": {"s3io/open_test.go TestProbeRefusesPlaintext", "integration/thirdparty/servers_test.go TestVersitygwIsRefused"},
	"An answer that does not prove the encryption fails the close.":                      {"s3io/undo_test.go TestLieAboutNewObject TestLieAboutUpload", "integration/promises_commit_test.go failClosed"},
	"No request that creates an object leaves without the policy's headers.":             {"s3io/guard_test.go TestGuard TestNoCreatingRequestWithoutItsHeaders TestOnlyCreatingRequestsCarryTheHeaders"},

	"Without the key nothing is read.":                                           {"integration/envelope_keys_test.go errorsOfKMS", "crypto/open_test.go TestRefusalsDropCachedKeys"},
	"A key that is taken away bites.":                                            {"integration/envelope_keys_test.go keyDisabled", "cmd/kmsfs/ctl_test.go TestFlushKeysMakesARevocationBite"},
	"Who may write deletes and replaces.":                                        {"integration/security/hostile_test.go TestLimits"},
	"Wrapped data keys are in the bucket alone.":                                 {"integration/security/secrets_test.go TestSecretsAreNotShown"},
	"A data key opens in its own context only.":                                  {"crypto/planted_test.go TestOtherContextsAreAskedFor", "crypto/open_test.go TestOpenAcceptsWhatItIsToldTo", "integration/envelope_hosts_test.go acceptContextBucket"},
	"A planted object is refused before KMS is asked about it.":                  {"integration/envelope_planted_test.go plantedObjects", "s3io/planted_test.go TestPlantedObjects", "crypto/open_test.go TestOpenAsksNothingAboutForeignMessages"},
	"Frames that were rearranged, exchanged or cut are noticed.":                 {"crypto/message_test.go TestReaderRefusesRearrangedFrames", "crypto/frame_test.go TestFramesOutOfPlace", "crypto/codec_fuzz_test.go FuzzOpen FuzzReader"},
	"Without envelope, objects that are not under an accepted key are not read.": {"integration/policy_test.go encryptionIsRequired TestUnlinkMakesNothingReadable", "s3io/accept_test.go TestReadingPolicy"},
	"The rewrap registry is not trusted.":                                        {"crypto/rewrap_test.go TestRegistryIsNotTrusted TestParseRewrapRefuses FuzzParseRewrap"},
	"Uploads and objects of others are left alone.":                              {"s3io/writer_fault_test.go TestCleanUpAbortsOnlyOurOwn", "s3io/undo_test.go TestRemovesOnlyItsOwn", "s3io/foreign_fuzz_test.go FuzzJournal"},

	"No name leads out of the mount.":                                                  {"fs/foreign_fuzz_test.go FuzzName FuzzEntries", "integration/security/hostile_test.go TestHostileBucket"},
	"Names and answers drive no terminal and forge no line of the log.":                {"cmd/kmsfs/live_test.go TestNothingPrintedDrivesATerminal", "s3io/foreign_fuzz_test.go FuzzError", "integration/security/hostile_test.go TestHostileBucket"},
	"Malformed metadata is as good as absent.":                                         {"s3io/foreign_fuzz_test.go FuzzHead FuzzPlainXattrs", "fs/foreign_fuzz_test.go FuzzAttributes", "s3io/planted_test.go TestMetadataIsAHint", "crypto/codec_fuzz_test.go FuzzExpandHeader FuzzParseHeader"},
	"A listing is believed only below what was asked for.":                             {"s3io/foreign_fuzz_test.go FuzzListing"},
	"Links, device nodes and set-user-id bits of a bucket give nobody rights.":         {"integration/security/hostile_test.go TestHostileBucket"},
	"Other users do not enter.":                                                        {"integration/access_test.go otherUsers"},
	"The control socket is the user's own.":                                            {"internal/ctl/ctl_test.go TestOnlyAPrivateDirectoryIsTrusted TestALinkIsNotFollowedToTheSocket", "internal/ctl/fuzz_test.go FuzzRequest"},
	"What a mount keeps on this machine is private.":                                   {"integration/security/secrets_test.go TestFilesOfAMountArePrivate", "s3io/spool_test.go TestSpoolIsPrivateAndSealed"},
	"A decrypted file replaces no link and appears when all of it is authenticated.":   {"cmd/kmsfs/decrypt_test.go TestDecryptToAFile TestDecryptOfWhatWasChanged"},
	"Other processes of the user do not read the memory, and nobody gets a core dump.": {"cmd/kmsfs/local_linux_test.go TestMemoryIsHidden", "integration/promises_run_test.go nothingSecretAtRest"},

	"No content and no key is on the disk.":         {"integration/promises_run_test.go nothingSecretAtRest", "integration/envelope_secrets_test.go nothingReadableLeaves", "s3io/writer_fault_test.go TestWriterPlaintextNeverOnDisk", "integration/security/secrets_test.go TestSecretsAreNotShown"},
	"The spool is of no use after its process.":     {"s3io/spool_test.go TestSpoolIsPrivateAndSealed TestSpoolTellsDamagedAndOldFrames", "crypto/ephemeral_test.go TestEphemeralKeysDiffer TestEphemeralNoncesNeverRepeat"},
	"Data keys are in locked memory and wiped.":     {"crypto/datakey_linux_test.go TestDataKeysAreLocked", "crypto/datakey_test.go TestDataKeyIsWipedByTheLastRelease", "crypto/keyring_test.go TestCloseEndsAndWipesAll"},
	"A host that may only write reads no history.":  {"integration/envelope_hosts_test.go writeOnlyHost", "crypto/open_test.go TestWriteOnlyNeverDecrypts"},
	"A read-only mount sends nothing that changes.": {"s3io/open_test.go TestReadOnly", "s3io/guard_test.go TestGuard"},

	"An outage of KMS is survived for the grace, a refusal is not.":                                  {"integration/envelope_keys_test.go outageOfKMS", "crypto/outage_test.go TestGraceIsForTimeOnly TestNoGrace"},
	"Without KMS nothing is written that is not sealed.":                                             {"s3io/keyring_test.go TestKMSOutage", "s3io/guard_body_test.go TestNoContentLeavesUnsealed"},
	"Two whole objects that are swapped are noticed with the object's scope.":                        {"integration/envelope_hosts_test.go objectScope"},
	"An older whole object is not noticed.":                                                          {"integration/security/hostile_test.go TestLimits"},
	"Frames of an older generation fit a message that was changed in place.":                         {"crypto/frame_test.go TestSplicedFramesJoinTheirMessage"},
	"Credentials, signatures, data keys and content are in no log, message, output or command line.": {"integration/security/secrets_test.go TestSecretsAreNotShown"},
	"Helpers get no credentials.":                                                                    {"integration/security/secrets_test.go TestChildrenGetNoCredentials"},
	"An endpoint with a password in it is refused.":                                                  {"s3io/open_test.go TestOpenRefuses"},
}

// TestEveryClaimHasItsTests goes through the attackers of the document.
func TestEveryClaimHasItsTests(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(harness.Root(), "docs", "SECURITY-MODEL.md"))
	harness.Must(t, err)
	_, part, found := strings.Cut(string(text), "\n## Attackers\n")
	part, _, ended := strings.Cut(part, "\n## ")
	if !found || !ended {
		t.Fatal("the document has no section of attackers")
	}
	made := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^- \*\*([^*]+)\*\*`).FindAllStringSubmatch(part, -1) {
		claim := strings.Join(strings.Fields(m[1]), " ")
		made[claim] = true
		if len(claims[claim]) == 0 {
			t.Errorf("docs/SECURITY-MODEL.md claims %q, and nothing tests it", claim)
		}
	}
	for claim, places := range claims {
		if !made[claim] {
			t.Errorf("%q is tested, and docs/SECURITY-MODEL.md does not claim it", claim)
		}
		for _, place := range places {
			file, names, _ := strings.Cut(place, " ")
			source, err := os.ReadFile(filepath.Join(harness.Root(), file))
			if err != nil {
				t.Errorf("%q: %v", claim, err)
				continue
			}
			for _, name := range strings.Fields(names) {
				if !regexp.MustCompile(`\nfunc ` + name + `\((t \*testing\.T|f \*testing\.F)\)`).Match(source) {
					t.Errorf("%q: %s has no %s", claim, file, name)
				}
			}
		}
	}
}

// TestNothingSwitchesTLSOff: no code of production can go on with a certificate
// that is not proven.
func TestNothingSwitchesTLSOff(t *testing.T) {
	seen := 0
	for _, dir := range []string{"cmd", "fs", "s3io", "crypto", "cache", "internal/ctl"} {
		harness.Must(t, filepath.WalkDir(filepath.Join(harness.Root(), dir), func(path string, d os.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			seen++
			text, err := os.ReadFile(path)
			for _, word := range []string{"InsecureSkipVerify", "VerifyPeerCertificate", "VerifyConnection", "MinVersion:", "ClientLogMode"} {
				if strings.Contains(string(text), word) {
					t.Errorf("%s has %s", path, word)
				}
			}
			return err
		}))
	}
	if seen < 100 {
		t.Errorf("only %d files were looked at", seen)
	}
}
