package cache

import (
	"context"
	"testing"
)

// BenchmarkHit is what every open of a cached key costs.
func BenchmarkHit(b *testing.B) {
	c, err := New[*secret](Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	v := newSecret(nil, "g", "v")
	c.Store(idOf(1), v)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			v, err := c.Load(context.Background(), idOf(1), nil)
			if err != nil {
				b.Error(err)
				return
			}
			v.Release()
		}
	})
}
