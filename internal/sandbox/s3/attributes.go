package s3

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/kmsfs/kmsfs/internal/sandbox/wire"
)

const (
	// maxMeta bounds the names and values of user metadata together.
	// https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingMetadata.html
	maxMeta = 2 << 10
	// maxKey is the longest key, in bytes.
	// https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html
	maxKey = 1024

	metaPrefix    = "X-Amz-Meta-"
	headerTagging = "X-Amz-Tagging"
	headerClass   = "X-Amz-Storage-Class"
	standard      = "STANDARD"
)

// stored are the system headers that are kept with an object.
var stored = [...]string{"Cache-Control", "Content-Disposition", "Content-Encoding", "Content-Language", "Content-Type",
	"Expires", "X-Amz-Website-Redirect-Location"}

// archived are the storage classes whose objects must be restored before they can be read.
var archived = [...]string{"GLACIER", "DEEP_ARCHIVE"}

var classes = [...]string{standard, "REDUCED_REDUNDANCY", "STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING", "GLACIER_IR",
	"GLACIER", "DEEP_ARCHIVE"}

// given reads the attributes that a creating request carries.
func given(h http.Header) (attributes, error) {
	a := attributes{Headers: map[string]string{}, Meta: map[string]string{}}
	size := 0
	for name, values := range h {
		if meta, ok := strings.CutPrefix(name, metaPrefix); ok {
			meta = strings.ToLower(meta)
			a.Meta[meta] = strings.Join(values, ",")
			size += len(meta) + len(a.Meta[meta])
		}
	}
	if size > maxMeta {
		return a, with(wire.Errorf(400, "MetadataTooLarge", "Your metadata headers exceed the maximum allowed metadata size"),
			"Size", fmt.Sprint(size), "MaxSizeAllowed", fmt.Sprint(maxMeta))
	}
	for _, name := range stored {
		if v := h.Get(name); v != "" {
			a.Headers[name] = v
		}
	}
	if a.Headers["Content-Type"] == "" {
		a.Headers["Content-Type"] = "binary/octet-stream"
	}
	for _, name := range []string{"X-Amz-Object-Lock-Mode", "X-Amz-Object-Lock-Retain-Until-Date", "X-Amz-Object-Lock-Legal-Hold"} {
		if h.Get(name) != "" {
			return a, invalidRequest("Bucket is missing Object Lock Configuration")
		}
	}
	var err error
	if a.Class, err = classOf(h); err != nil {
		return a, err
	}
	a.Tags, err = tagsOf(h)
	return a, err
}

func classOf(h http.Header) (string, error) {
	class := h.Get(headerClass)
	if class == "" {
		return standard, nil
	}
	if !slices.Contains(classes[:], class) {
		return "", wire.Errorf(400, "InvalidStorageClass", "The storage class you specified is not valid")
	}
	return class, nil
}

// tagsOf reads x-amz-tagging into its canonical order.
func tagsOf(h http.Header) (string, error) {
	tags, err := url.ParseQuery(h.Get(headerTagging))
	if err != nil {
		return "", invalidArgument("x-amz-tagging", h.Get(headerTagging), "The header 'x-amz-tagging' shall be encoded as UTF-8 then URLEncoded URL query parameters without tag name duplicates.")
	}
	if len(tags) > 10 {
		return "", wire.Errorf(400, "BadRequest", "Object tags cannot be greater than 10")
	}
	for name, values := range tags {
		if len(values) > 1 || utf8.RuneCountInString(name) > 128 || utf8.RuneCountInString(values[0]) > 256 {
			return "", wire.Errorf(400, "InvalidTag", "The tag %q is repeated or too long", name)
		}
	}
	return tags.Encode(), nil
}

// write sets the headers that answer GET and HEAD.
func (a attributes) write(h http.Header) {
	for name, v := range a.Headers {
		h.Set(name, v)
	}
	for name, v := range a.Meta {
		h[strings.ToLower(metaPrefix)+name] = []string{v} // clients take the names as they come: S3 sends lower case
	}
	if a.Class != standard {
		h.Set(headerClass, a.Class)
	}
	if a.Tags != "" {
		h.Set("X-Amz-Tagging-Count", fmt.Sprint(strings.Count(a.Tags, "&")+1))
	}
}

// checkKey refuses keys that S3 cannot have.
func checkKey(key string) error {
	switch {
	case len(key) > maxKey:
		return with(wire.Errorf(400, "KeyTooLongError", "Your key is too long"), "Size", fmt.Sprint(len(key)), "MaxSizeAllowed", fmt.Sprint(maxKey))
	case !utf8.ValidString(key):
		return wire.Errorf(400, "InvalidURI", "Couldn't parse the specified URI.")
	}
	return nil
}
