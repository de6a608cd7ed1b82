package s3_test

import "testing"

func TestObjectsRoundTrip(t *testing.T) {
	for name, plain := range map[string]bool{"https": false, "http": true} {
		t.Run(name, func(t *testing.T) {
			b := start(t, plain, nil)
			for _, size := range []int{0, 1, 65535, 65536, 65537, 200_000} {
				body := noise(size)
				b.put(t, "a//b/./c", body)
				equal(t, "whole", b.get(t, "a//b/./c", ""), body)
				if size > 65536 {
					equal(t, "range", b.get(t, "a//b/./c", "bytes=65530-65537"), body[65530:min(65538, size)])
					equal(t, "suffix", b.get(t, "a//b/./c", "bytes=-3"), body[size-3:])
				}
			}
		})
	}
}
