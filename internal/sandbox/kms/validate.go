package kms

import (
	"fmt"
	"slices"
	"strings"

	"github.com/kmsfs/kmsfs/internal/sandbox/wire"
)

// invalid is how KMS words a value outside of its constraints.
func invalid(value, name, constraint string) *wire.Error {
	return wire.Errorf(400, "ValidationException", "1 validation error detected: Value %sat '%s' failed to satisfy constraint: %s", value, name, constraint)
}

func missing(name string) *wire.Error { return invalid("null ", name, "Member must not be null") }

// oneOf checks an enumeration; empty stands for a default.
func oneOf(value, name string, allowed ...string) *wire.Error {
	if value == "" || slices.Contains(allowed, value) {
		return nil
	}
	return invalid("'"+value+"' ", name, "Member must satisfy enum value set: ["+strings.Join(allowed, ", ")+"]")
}

// length checks the bytes of a blob, whose value KMS does not repeat.
func length(n int, name string, least, most int) *wire.Error {
	switch {
	case n < least:
		return invalid("", name, fmt.Sprintf("Member must have length greater than or equal to %d", least))
	case n > most:
		return invalid("", name, fmt.Sprintf("Member must have length less than or equal to %d", most))
	}
	return nil
}

// between checks a number; nil stands for a default.
func between(n *int, name string, least, most int) *wire.Error {
	switch {
	case n != nil && *n < least:
		return invalid(fmt.Sprintf("'%d' ", *n), name, fmt.Sprintf("Member must have value greater than or equal to %d", least))
	case n != nil && *n > most:
		return invalid(fmt.Sprintf("'%d' ", *n), name, fmt.Sprintf("Member must have value less than or equal to %d", most))
	}
	return nil
}

// first returns the first error.
func first(errors ...*wire.Error) *wire.Error {
	for _, e := range errors {
		if e != nil {
			return e
		}
	}
	return nil
}
