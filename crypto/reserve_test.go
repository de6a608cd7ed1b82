package crypto

import (
	"testing"
	"time"

	"github.com/kmsfs/kmsfs/internal/sandbox/wire"
)

// TestReserveOutlivesEverything: the newest key is there when KMS has been away for
// longer than any key may be used, in each way to make keys, and until Flush.
func TestReserveOutlivesEverything(t *testing.T) {
	for name, change := range map[string]func(*KeyringOptions){
		"bucket": func(*KeyringOptions) {}, "key for every object": func(o *KeyringOptions) { o.KeyPerObject = true },
		"bound to the object": func(o *KeyringOptions) { o.Scope = ScopeObject }, "write-only": func(o *KeyringOptions) { o.WriteOnly = true },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			k := b.keyring(func(o *KeyringOptions) { o.Reserve = true; change(o) })
			if err := k.Check(t.Context()); err != nil {
				t.Fatal(err)
			}
			down := b.Faults.Add(wire.Fault{Kind: wire.ResetBefore, Op: opGenerate})
			b.pass(100 * time.Hour)
			k.retire(func(*writeKey) bool { return true })
			s, err := k.SealReserve(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := b.keyring(func(o *KeyringOptions) { o.AnyContext = true }).Open(t.Context(), s.Header(), "other"); err != nil {
				t.Errorf("what was sealed cannot be opened: %v", err)
			}
			k.Flush()
			if _, err := k.SealReserve(t.Context()); err == nil {
				t.Error("a data key outlived Flush")
			}
			down.Remove()
			for range 2 {
				if _, err := k.SealReserve(t.Context()); err != nil {
					t.Error(err)
				}
			}
			if n := b.Log.Count(opGenerate); n != 3 { // Check, the one that failed, and one after it
				t.Errorf("%d requests for data keys", n)
			}
		})
	}
}
