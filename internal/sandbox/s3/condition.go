package s3

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// matches reports whether an ETag is in a list such as If-Match carries.
func matches(list, etag string) bool {
	for tag := range strings.SplitSeq(list, ",") {
		tag = strings.TrimPrefix(strings.TrimSpace(tag), "W/")
		if tag == "*" || strings.Trim(tag, `"`) == etag {
			return true
		}
	}
	return false
}

// writable checks the conditions of a request that creates key, against what is there now.
// https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html
func writable(h http.Header, key string, current *version) error {
	if list := h.Get("If-Match"); list != "" {
		if current == nil {
			return noSuchKey(key)
		}
		if !matches(list, current.ETag) {
			return preconditionFailed("If-Match")
		}
	}
	if list := h.Get("If-None-Match"); list != "" && current != nil && matches(list, current.ETag) {
		return preconditionFailed("If-None-Match")
	}
	return nil
}

// deletable checks the conditions of a delete.
// https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-deletes.html
func deletable(etag, size, modified, key string, current *version) error {
	if etag == "" && size == "" && modified == "" {
		return nil
	}
	if current == nil {
		return noSuchKey(key)
	}
	if etag != "" && !matches(etag, current.ETag) {
		return preconditionFailed("If-Match")
	}
	if size != "" && size != strconv.FormatInt(current.Size, 10) {
		return preconditionFailed("x-amz-if-match-size")
	}
	if t, err := parseTime(modified); modified != "" && (err != nil || !t.Equal(current.Modified.Truncate(time.Second))) {
		return preconditionFailed("x-amz-if-match-last-modified-time")
	}
	return nil
}

func parseTime(s string) (time.Time, error) {
	if t, err := http.ParseTime(s); err == nil {
		return t, nil
	}
	t, err := time.Parse(time.RFC3339, s)
	return t.Truncate(time.Second), err
}

// readable checks the conditions of GET and HEAD, whose names have no prefix, or those on the source of a copy. It
// returns the name of the condition that failed, and whether it means that the client has the object already.
// https://www.rfc-editor.org/rfc/rfc9110#section-13.2.2 gives the precedence.
func readable(h http.Header, prefix string, v *version) (failed string, known bool) {
	modified := v.Modified.Truncate(time.Second)
	after := func(value string) (is, valid bool) {
		t, err := http.ParseTime(value)
		return modified.After(t), err == nil
	}
	if list := h.Get(prefix + "If-Match"); list != "" {
		if !matches(list, v.ETag) {
			return "If-Match", false
		}
	} else if is, valid := after(h.Get(prefix + "If-Unmodified-Since")); valid && is {
		return "If-Unmodified-Since", false
	}
	if list := h.Get(prefix + "If-None-Match"); list != "" {
		if matches(list, v.ETag) {
			return "If-None-Match", true
		}
	} else if is, valid := after(h.Get(prefix + "If-Modified-Since")); valid && !is {
		return "If-Modified-Since", true
	}
	return "", false
}
