package s3io

import (
	"bytes"
	"errors"
	"io"
	"strings"

	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/kmsfs/kmsfs/crypto"
)

// probeText is the content of probe objects, which are not sealed.
const probeText = "kmsfs asks whether this is encrypted\n"

// guardBody says why the content of a request must not leave the machine where
// all content is sealed; "" lets it pass. It believes the type of a body, and
// looks at those few itself that hold nothing of the user's.
func guardBody(op string, req *smithyhttp.Request) string {
	if op != "PutObject" && op != "UploadPart" {
		return ""
	}
	if _, ok := req.GetStream().(interface{ ciphertext() }); ok {
		return ""
	}
	switch text, err := start(req); {
	case err != nil:
		return "its body cannot be read: " + err.Error()
	case len(text) == 0 && op == "PutObject" && strings.HasSuffix(req.URL.Path, "/"):
		return "" // marker of a directory
	case string(text) == probeText:
		return ""
	case op == "PutObject" && isRewrap(text):
		return ""
	}
	return "its body is not sealed"
}

// start returns the first bytes of a body, more than any that may pass
// unsealed has, and rewinds it.
func start(req *smithyhttp.Request) ([]byte, error) {
	body := req.GetStream()
	if body == nil {
		return nil, nil
	}
	if !req.IsStreamSeekable() {
		return nil, errors.New("it cannot be rewound")
	}
	text, err := io.ReadAll(io.LimitReader(body, maxRewrap+1))
	if err != nil {
		return nil, err
	}
	return text, req.RewindStream()
}

// isRewrap reports whether text is an entry of the rewrap registry and nothing
// more: the name of a KMS key, and a data key that it wraps.
func isRewrap(text []byte) bool {
	e, err := crypto.ParseRewrap(text)
	return err == nil && bytes.Equal(crypto.EncodeRewrap(e), text)
}
