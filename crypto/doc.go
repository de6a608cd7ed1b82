// Package crypto seals bytes into authenticated frames, and resolves and classifies KMS keys.
package crypto
