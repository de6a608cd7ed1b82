package main

import (
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"

	"github.com/kmsfs/kmsfs/crypto"
	"github.com/kmsfs/kmsfs/s3io"
)

// messageFormat is what envelope objects are for who does not know kmsfs.
const messageFormat = "kmsfs envelope (AWS Encryption SDK v2, suite 0478)"

// How far --verify goes.
const (
	verifyHeader = "header"
	verifyFull   = "full"
)

// inspectedMessage is what the header of an envelope object says, and what was
// proven of that.
type inspectedMessage struct {
	Format    string            `json:"format"`
	Keys      []string          `json:"kms_keys"`
	Context   map[string]string `json:"context"`
	MessageID string            `json:"message_id"` // hexadecimal
	Frames    int64             `json:"frames"`
	Stored    int64             `json:"stored_size"` // bytes of the object
	Spliced   int64             `json:"spliced_frames"`
	Rewrapped map[string]string `json:"rewrapped,omitempty"` // KMS key in the header to the one in the rewrap registry
	Verified  string            `json:"verified"`            // "no", "header" or "full"
}

// inspectMessage reads the header of o, and proves what verify says.
func inspectMessage(ctx context.Context, b *s3io.Bucket, o s3io.Object, verify string) (*inspectedMessage, error) {
	h, err := b.HeaderOf(ctx, o)
	if err != nil {
		return nil, err
	}
	m := &inspectedMessage{
		Format: messageFormat, Context: h.Context(), MessageID: hex.EncodeToString(h.ID[:]),
		Frames: int64(crypto.FinalFrame(o.Stored)), Stored: o.Stored, Spliced: o.Spliced,
		Rewrapped: map[string]string{}, Verified: "no",
	}
	for _, e := range h.EDKs {
		m.Keys = append(m.Keys, e.Info)
		renewed, ok, err := b.Rewrapped(ctx, e)
		if err != nil {
			return nil, err
		}
		if ok {
			m.Rewrapped[e.Info] = renewed.Info
		}
	}
	switch verify {
	case verifyHeader:
		o.Header = h
		err = b.Unlock(ctx, o)
	case verifyFull:
		err = readAll(ctx, b, o)
	default:
		return m, nil
	}
	m.Verified = verify
	return m, err
}

// readAll reads the content of o, which proves it.
func readAll(ctx context.Context, b *s3io.Bucket, o s3io.Object) error {
	body, err := b.Get(ctx, o, 0, -1)
	if err != nil {
		return err
	}
	defer body.Close()
	_, err = io.Copy(io.Discard, body)
	return err
}

// print prints m, a row at a time.
func (m *inspectedMessage) print(row func(name, text string)) {
	row("encryption", m.Format)
	for _, key := range m.Keys {
		row("envelope key", key)
		if renewed := m.Rewrapped[key]; renewed != "" {
			row("rewrapped", "under "+renewed)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(m.Context)) {
		row("context", name+"="+m.Context[name])
	}
	row("message ID", m.MessageID)
	row("frames", fmt.Sprintf("%d of up to %d bytes", m.Frames, crypto.FrameSize))
	row("spliced frames", strconv.FormatInt(m.Spliced, 10))
	row("stored size", bytesText(m.Stored))
	row("verified", map[string]string{
		"no": "no: KMS was not asked (--verify)", verifyHeader: "header: KMS opened the data key, and it proves the header",
		verifyFull: "header and all frames",
	}[m.Verified])
}
