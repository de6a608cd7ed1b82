package cache_test

import (
	"github.com/kmsfs/kmsfs/cache"
	"github.com/kmsfs/kmsfs/crypto"
)

// The two packages do not import each other; who joins them relies on this.
var _ crypto.KeyCache = (*cache.Cache[*crypto.DataKey])(nil)
