package faults

import (
	"os"
	"slices"
	"time"

	"github.com/kmsfs/kmsfs/internal/sandbox/wire"
)

// A Fault is a way in which requests go wrong.
type Fault struct {
	Name string
	Form string // "not applied", "applied", or "-" where that is no question

	// Lasts has it strike every request until it is ended; else each kind of
	// request goes wrong once.
	Lasts bool

	rule    wire.Fault                // what happens; Op is filled in
	strike  func(request string) bool // which requests it can strike
	service string                    // "kms": the calls to KMS of mounts that seal
	flags   []string                  // of the mount
	gate    gateMode                  // what happens to connections, instead of rule
	outage  time.Duration             // how long the gate stays so; 0 is until all is over
}

// The forms.
const (
	refused = "not applied"
	applied = "applied"
	neither = "-"
)

// all requests, and those that change something, carry a body, or are answered
// with one.
func all(string) bool { return true }

func changing(request string) bool { return !slices.Contains(asking, request) }

func bodied(request string) bool {
	return slices.Contains([]string{"PutObject", "UploadPart", "CompleteMultipartUpload"}, request)
}

func answered(request string) bool {
	return slices.Contains([]string{
		"GetObject", "ListObjectsV2", "CopyObject", "UploadPartCopy", "CreateMultipartUpload", "CompleteMultipartUpload",
	}, request)
}

func late(request string) bool {
	return slices.Contains([]string{"CopyObject", "UploadPartCopy", "CompleteMultipartUpload"}, request)
}

func only(names ...string) func(string) bool {
	return func(request string) bool { return slices.Contains(names, request) }
}

// asking are the requests that change nothing.
var asking = []string{"HeadObject", "GetObject", "ListObjectsV2"}

// requests are all that mounts make of objects.
var requests = slices.Concat(asking, []string{
	"PutObject", "CopyObject", "DeleteObject", "CreateMultipartUpload", "UploadPart", "UploadPartCopy", "CompleteMultipartUpload",
})

// strikes says whether the fault can strike the operation, which is about the
// requests.
func (f Fault) strikes(o Operation, about []string) bool {
	if f.gate != open {
		return true
	}
	if o.before == nil && (f.Lasts || f.service != "") { // mount and umount
		return false
	}
	return slices.ContainsFunc(about, f.strike)
}

// arm puts the fault in force for the requests, and returns a rule for each that it can
// strike.
func (f Fault) arm(faults *wire.Faults, about []string) map[string]*wire.Rule {
	rules := map[string]*wire.Rule{}
	for _, request := range about {
		if !f.strike(request) {
			continue
		}
		fault := f.rule
		fault.Op, fault.Service = request, f.service
		if !f.Lasts {
			fault.Times = 1
		}
		rules[request] = faults.Add(fault)
	}
	return rules
}

// slowness is what a slow server takes for each request.
const slowness = 200 * time.Millisecond

// Faults are all that the table speaks of.
func Faults() []Fault {
	return slices.Concat(lasting(), once(), bodies()) // what waits longest first
}

// once are the faults after which the next attempt succeeds.
func once() []Fault {
	answer := func(name string, status int, code string) []Fault {
		return []Fault{
			{Name: name, Form: refused, strike: all, rule: wire.Fault{Kind: wire.Answer, Status: status, Code: code}},
			{Name: name, Form: applied, strike: changing, rule: wire.Fault{Kind: wire.AnswerAfter, Status: status, Code: code}},
		}
	}
	return slices.Concat(
		answer("500 InternalError", 500, "InternalError"),
		answer("503 SlowDown", 503, "SlowDown"),
		[]Fault{
			{Name: "200 with an error inside", Form: refused, strike: late, rule: wire.Fault{Kind: wire.Answer, Status: 200}},
			{Name: "200 with an error inside", Form: applied, strike: late, rule: wire.Fault{Kind: wire.AnswerAfter, Status: 200}},
			{Name: "connection reset", Form: refused, strike: all, rule: wire.Fault{Kind: wire.ResetBefore}},
			{Name: "connection reset", Form: applied, strike: changing, rule: wire.Fault{Kind: wire.ResetAfter}},
			{Name: "connection reset in the request", Form: refused, strike: bodied, rule: wire.Fault{Kind: wire.ResetRequest, Cut: 50}},
			{Name: "KMS throttles", Form: refused, strike: only("GenerateDataKey", "Decrypt"), service: "kms", flags: []string{"--bucket-key=off"},
				rule: wire.Fault{Kind: wire.Answer, Status: 400, Code: "ThrottlingException"}},
			{Name: "KMS fails", Form: refused, strike: only("GenerateDataKey", "Decrypt"), service: "kms", flags: []string{"--bucket-key=off"},
				rule: wire.Fault{Kind: wire.Answer, Status: 500, Code: "KMSInternalException"}},
			{Name: "slow server", Form: neither, Lasts: true, strike: all, rule: wire.Fault{Kind: wire.Slow, Delay: slowness}},
		})
}

// bodies are what happens to content on its way.
func bodies() []Fault {
	const within, content = 100, 1500 // bytes of a body; behind the header of what is sealed
	return []Fault{
		{Name: "connection reset in the answer", Form: applied, strike: answered, rule: wire.Fault{Kind: wire.ResetBody, Cut: within}},
		{Name: "answer cut off", Form: applied, strike: answered, rule: wire.Fault{Kind: wire.CutBody, Cut: within}},
		{Name: "answer silently short", Form: applied, strike: answered, rule: wire.Fault{Kind: wire.ShortBody, Cut: within}},
		{Name: "byte flipped in the request", Form: refused, strike: only("PutObject", "UploadPart"), rule: wire.Fault{Kind: wire.FlipRequest, Cut: content}},
		{Name: "byte flipped in the answer", Form: applied, strike: only("GetObject"), rule: wire.Fault{Kind: wire.FlipByte, Cut: content}},
	}
}

// lasting are the faults that outlive the deadline, and the outage that does
// not.
func lasting() []Fault {
	return []Fault{
		{Name: "500 for ever", Form: refused, Lasts: true, strike: all, rule: wire.Fault{Kind: wire.Answer}},
		{Name: "500 for ever", Form: applied, Lasts: true, strike: changing, rule: wire.Fault{Kind: wire.AnswerAfter}},
		{Name: "server hangs", Form: refused, Lasts: true, strike: all, rule: wire.Fault{Kind: wire.Hang}},
		{Name: "server hangs", Form: applied, Lasts: true, strike: changing, rule: wire.Fault{Kind: wire.HangAfter}},
		{Name: "access denied", Form: refused, Lasts: true, strike: all, rule: wire.Fault{Kind: wire.Answer, Status: 403, Code: "AccessDenied"}},
		{Name: "credentials expired", Form: refused, Lasts: true, strike: all, rule: wire.Fault{Kind: wire.Answer, Status: 400, Code: "ExpiredToken"}},
		{Name: "server down", Form: refused, Lasts: true, gate: down},
		{Name: "network silent", Form: neither, Lasts: true, gate: silent},
		{Name: "TLS intercepted", Form: refused, Lasts: true, gate: intercepted},
		{Name: "outage", Form: refused, Lasts: true, gate: down, outage: outage()},
	}
}

// OutageVariable is how long the outage lasts, such as 60s, which is survived
// by the default --timeout. Without it both are a sixth.
const OutageVariable = "KMSFS_TEST_OUTAGE"

// shortOutage is not shorter, because attempts come ever more seldom.
const shortOutage = 10 * time.Second

func outage() time.Duration {
	if d, err := time.ParseDuration(os.Getenv(OutageVariable)); err == nil {
		return d
	}
	return shortOutage
}
