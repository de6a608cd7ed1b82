package wire

import (
	"crypto/tls"
	"net"
	"net/http"
	"strconv"
)

// answer is the ResponseWriter that a service writes to: it logs the status before the client can see it, and does
// to the answer what a fault demands.
type answer struct {
	http.ResponseWriter
	finish func(caller string, status int)
	caller string

	edit    func(http.Header)
	cut     int64 // body bytes until the connection is torn; -1: never
	reset   bool  // tear by a reset, not in good order
	flip    int64 // offset of the byte to invert; -1: none
	short   int64 // body bytes that the answer pretends to have; -1: all
	sent    int64 // body bytes so far
	started bool  // the status was sent
	torn    bool
}

func newAnswer(w http.ResponseWriter) *answer {
	return &answer{ResponseWriter: w, cut: -1, flip: -1, short: -1}
}

// WriteHeader sends the status line and the headers.
func (a *answer) WriteHeader(status int) {
	if status >= 200 { // an informational answer comes before the real one
		if a.started || a.torn {
			return
		}
		a.started = true
		a.finish(a.caller, status)
		if a.edit != nil {
			a.edit(a.Header())
		}
		if n, err := strconv.ParseInt(a.Header().Get("Content-Length"), 10, 64); a.short >= 0 && (err != nil || n > a.short) {
			a.Header().Set("Content-Length", strconv.FormatInt(a.short, 10))
		}
	}
	a.ResponseWriter.WriteHeader(status)
}

// Write sends part of the body. After a cut it goes on taking bytes, so that the service ends as it would.
func (a *answer) Write(p []byte) (int, error) {
	if !a.started {
		a.WriteHeader(http.StatusOK)
	}
	if a.torn {
		return len(p), nil
	}
	start := a.sent
	a.sent += int64(len(p))
	if a.cut >= 0 && a.sent >= a.cut {
		if _, err := a.ResponseWriter.Write(p[:a.cut-start]); err != nil {
			return 0, err
		}
		a.tear(a.reset)
		return len(p), nil
	}
	if a.short >= 0 && a.sent > a.short {
		_, err := a.ResponseWriter.Write(p[:max(0, min(a.short-start, int64(len(p))))])
		return len(p), err
	}
	if at := a.flip - start; a.flip >= start && at < int64(len(p)) {
		p = append([]byte(nil), p...)
		p[at] = ^p[at]
	}
	return a.ResponseWriter.Write(p)
}

// end is called when the service returns: an empty answer has a status too.
func (a *answer) end() {
	if !a.started && !a.torn {
		a.WriteHeader(http.StatusOK)
	}
}

// Flush sends what is buffered.
func (a *answer) Flush() {
	if !a.torn {
		_ = http.NewResponseController(a.ResponseWriter).Flush() // nowhere cannot, and need not
	}
}

// tear ends the connection, by a reset or in good order. What was written before has been sent.
func (a *answer) tear(reset bool) {
	if a.started {
		a.Flush()
	}
	a.torn = true
	conn, _, err := http.NewResponseController(a.ResponseWriter).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler) // no connection of our own to tear: the server closes it
	}
	if reset {
		raw := conn
		if t, ok := conn.(*tls.Conn); ok {
			raw = t.NetConn()
		}
		if tcp, ok := raw.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0) // makes Close send RST
		}
		_ = raw.Close()
		return
	}
	_ = conn.Close()
}

// nowhere is a ResponseWriter without a client.
type nowhere struct{ header http.Header }

func (n nowhere) Header() http.Header         { return n.header }
func (n nowhere) Write(p []byte) (int, error) { return len(p), nil }
func (n nowhere) WriteHeader(int)             {}
