// Package cache offers bounded, expiring caches whose concurrent misses load once.
package cache
