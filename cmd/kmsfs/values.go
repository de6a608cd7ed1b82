package main

import (
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
)

// A setter parses one value and stores it in the configuration. Its errors
// are whole sentences without the name of the setting, which the caller knows.
type setter func(c *config, value string) error

// text accepts any value.
func text(field func(*config) *string) setter {
	return func(c *config, v string) error {
		*field(c) = v
		return nil
	}
}

// path accepts a file name and makes it absolute: the mount's process works in /.
func path(field func(*config) *string) setter {
	return func(c *config, v string) (err error) {
		if v == "" {
			return errors.New("names no file; give a path")
		}
		*field(c), err = filepath.Abs(v)
		return err
	}
}

// oneOf accepts the given words.
func oneOf(field func(*config) *string, words []string) setter {
	return func(c *config, v string) error {
		if !slices.Contains(words, v) {
			return fmt.Errorf("%q is unknown; use %s", v, strings.Join(words, " or "))
		}
		*field(c) = v
		return nil
	}
}

// boolean accepts on and off in the spellings that flags, TOML and -o use.
func boolean(field func(*config) *bool) setter {
	return func(c *config, v string) error {
		switch strings.ToLower(v) {
		case "on", "true", "yes", "1":
			*field(c) = true
		case "off", "false", "no", "0":
			*field(c) = false
		default:
			return fmt.Errorf("%q is neither on nor off", v)
		}
		return nil
	}
}

// size accepts bytes with a unit, from least to most; "auto" is 0 where auto is set.
func size(field func(*config) *int64, least, most int64, auto bool) setter {
	return func(c *config, v string) error {
		if auto && v == "auto" {
			*field(c) = 0
			return nil
		}
		n, err := humanize.ParseBytes(v)
		if err != nil {
			return fmt.Errorf("%q is not a size; write it like 64MiB", v)
		}
		if n > math.MaxInt64 || int64(n) < least || int64(n) > most {
			return fmt.Errorf("%s is out of range; use %s to %s", v, humanize.IBytes(uint64(least)), humanize.IBytes(uint64(most)))
		}
		*field(c) = int64(n)
		return nil
	}
}

// count accepts a whole number from least to most.
func count(field func(*config) *int, least, most int) setter {
	return func(c *config, v string) error {
		n, err := strconv.Atoi(v)
		if err != nil || n < least || n > most {
			return fmt.Errorf("%q is not a number from %d to %d", v, least, most)
		}
		*field(c) = n
		return nil
	}
}

// duration accepts a time with a unit, at least least.
func duration(field func(*config) *time.Duration, least time.Duration) setter {
	return func(c *config, v string) error {
		d, err := time.ParseDuration(v)
		if err != nil {
			return fmt.Errorf("%q is not a time; write it like 90s or 5m", v)
		}
		if d < least {
			return fmt.Errorf("%s is too short; use at least %s", v, least)
		}
		*field(c) = d
		return nil
	}
}

// permissions accepts an octal file mode from least on, without file type.
func permissions(field func(*config) *uint32, least uint64) setter {
	return func(c *config, v string) error {
		n, err := strconv.ParseUint(strings.TrimPrefix(v, "0o"), 8, 32)
		if err != nil || n < least || n > 0o777 {
			return fmt.Errorf("%q is not an octal mode such as 0644", v)
		}
		*field(c) = uint32(n)
		return nil
	}
}

// owner accepts a numeric user or group id.
func owner(field func(*config) *uint32) setter {
	return func(c *config, v string) error {
		n, err := strconv.ParseUint(v, 10, 32)
		if err != nil || n == math.MaxUint32 { // which chown(2) takes for "unchanged"
			return fmt.Errorf("%q is not a numeric id", v)
		}
		*field(c) = uint32(n)
		return nil
	}
}

// appended accepts any value of a repeatable setting but an empty one.
func appended(field func(*config) *[]string) setter {
	return func(c *config, v string) error {
		if v == "" {
			return errors.New("names nothing; give a value, or leave it out")
		}
		*field(c) = append(*field(c), v)
		return nil
	}
}

// logLevels are the words for what is logged from.
var logLevels = []string{"debug", "info", "warn", "error"}

// logLevel accepts one of logLevels.
func logLevel(c *config, v string) error {
	if !slices.Contains(logLevels, v) {
		return fmt.Errorf("%q is unknown; use %s", v, strings.Join(logLevels, " or "))
	}
	return c.run.logLevel.UnmarshalText([]byte(v))
}

// contextPair accepts one K=V of the encryption context.
func contextPair(c *config, v string) error {
	k, value, ok := strings.Cut(v, "=")
	if !ok || k == "" {
		return fmt.Errorf("%q is not a pair; write it as KEY=VALUE", v)
	}
	if old, twice := c.context[k]; twice {
		return fmt.Errorf("key %q is given twice, with %q and %q; give it once", k, old, value)
	}
	if c.context == nil {
		c.context = map[string]string{}
	}
	c.context[k] = value
	return nil
}
