package wire

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"net/http"
	"strconv"
)

// An Error is an answer that AWS gives instead of a result.
type Error struct {
	Status  int    // HTTP status
	Code    string // such as AccessDenied; KMS calls it the error type
	Message string
	Extra   []Field     // further elements of the XML form, such as Region or BucketName
	Header  http.Header // further headers of the answer; may be nil
}

// A Field is one element of an XML error answer.
type Field struct{ Name, Value string }

// Error returns code and message.
func (e *Error) Error() string { return e.Code + ": " + e.Message }

// Errorf makes an Error whose message is formatted.
func Errorf(status int, code, format string, args ...any) *Error {
	return &Error{Status: status, Code: code, Message: fmt.Sprintf(format, args...)}
}

// A Render writes an Error in a service's protocol.
type Render func(w http.ResponseWriter, r *http.Request, e *Error)

// WriteXML answers as S3 does: an Error element, and nothing but the status to HEAD.
func WriteXML(w http.ResponseWriter, r *http.Request, e *Error) {
	type element struct {
		XMLName xml.Name
		Value   string `xml:",chardata"`
	}
	body := struct {
		XMLName xml.Name `xml:"Error"`
		Code    string
		Message string
		Extra   []element
		Request string `xml:"RequestId"`
		Host    string `xml:"HostId"`
	}{Code: e.Code, Message: e.Message, Request: w.Header().Get("X-Amz-Request-Id"), Host: w.Header().Get("X-Amz-Id-2")}
	for _, f := range e.Extra {
		body.Extra = append(body.Extra, element{xml.Name{Local: f.Name}, f.Value})
	}
	text, err := xml.Marshal(body)
	if err != nil { // strings that XML cannot carry are replaced, not refused: this cannot happen
		text = []byte("<Error><Code>InternalError</Code></Error>")
	}
	writeError(w, r, e, "application/xml", append([]byte(xml.Header), text...))
}

// WriteJSON answers as services of the JSON 1.1 protocol do, KMS among them.
func WriteJSON(w http.ResponseWriter, r *http.Request, e *Error) {
	text, err := json.Marshal(struct {
		Type    string `json:"__type"`
		Message string `json:"message,omitempty"`
	}{e.Code, e.Message})
	if err != nil {
		text = []byte(`{"__type":"InternalFailure"}`)
	}
	writeError(w, r, e, JSONType, text)
}

// JSONType is the content type of the JSON 1.1 protocol.
const JSONType = "application/x-amz-json-1.1"

// writeError sends text, after dropping what a success would have said of a body that now is not sent.
func writeError(w http.ResponseWriter, r *http.Request, e *Error, contentType string, text []byte) {
	h := w.Header()
	for _, name := range []string{"Etag", "Last-Modified", "Content-Range", "Content-Encoding"} {
		h.Del(name)
	}
	for name, values := range e.Header {
		h[name] = values
	}
	h.Set("Content-Type", contentType)
	if r.Method == http.MethodHead {
		h.Del("Content-Length")
		w.WriteHeader(e.Status)
		return
	}
	h.Set("Content-Length", strconv.Itoa(len(text)))
	w.WriteHeader(e.Status)
	_, _ = w.Write(text) // the client has gone: nobody is left to tell
}
