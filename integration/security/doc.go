// Package security keeps docs/SECURITY-MODEL.md honest: every claim there has
// tests, here or beside the code. It mounts once with everything logged, plays
// the attackers that can be played, and looks for what must not be seen.
package security
