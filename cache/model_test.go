package cache

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// model is what the cache may hold: what was stored or fetched last.
type model struct {
	*bench
	kept    map[byte]kept
	outages map[byte]time.Time // of the latest failure of a group
	denied  map[byte]time.Time
	serial  int
}

type kept struct {
	text string
	at   time.Time
}

// groupOf makes three groups of the ids.
func groupOf(id byte) byte { return id % 3 }

func (m *model) text() string {
	m.serial++
	return fmt.Sprint("value ", m.serial)
}

// load loads id with a fetch of that outcome, and compares what comes.
func (m *model) load(t *rapid.T, id byte, outcome error) {
	now, text, called := m.clock(), m.text(), false
	v, err := m.Load(context.Background(), idOf(id), func(context.Context) (*secret, error) {
		called = true
		if outcome != nil {
			return nil, outcome
		}
		return m.secret(fmt.Sprint(groupOf(id)), text), nil
	})
	m.idle()
	old, ok := m.kept[id]
	age := now.Sub(old.at)
	_, out := m.outages[groupOf(id)]
	fresh, graceful := ok && age < ttl, ok && age < ttl+grace && (out || called && errors.Is(outcome, errOutage))
	got := ""
	if err == nil {
		got = v.text
		v.use(v.text)
	}
	switch {
	case fresh && got != old.text:
		t.Fatalf("Load = %q, %v, but %q is %v old", got, err, old.text, age)
	case fresh, graceful && got == old.text:
	case now.Sub(m.denied[id]) < denialMemory && !called && errors.Is(err, errDenied):
	case !called || err != outcome || outcome == nil && got != text:
		t.Fatalf("Load = %q, %v; fetched: %v, %v; %q is %v old", got, err, called, outcome, old.text, age)
	}
	if called {
		m.fetched(id, outcome, kept{text, now}, ok && age < ttl+grace)
	}
}

// fetched notes what a call of fetch changes.
func (m *model) fetched(id byte, outcome error, k kept, had bool) {
	switch {
	case outcome == nil:
		m.kept[id] = k
		delete(m.outages, groupOf(id))
		delete(m.denied, id)
	case errors.Is(outcome, errDenied):
		m.denied[id] = k.at
		if had {
			m.drop(groupOf(id))
		}
	case errors.Is(outcome, errOutage) && had:
		m.outages[groupOf(id)] = k.at
	}
}

func (m *model) drop(group byte) {
	for id := range m.kept {
		if groupOf(id) == group {
			delete(m.kept, id)
		}
	}
}

// TestModel compares the cache with what it may hold, under all that can be
// done and that can happen, one after the other.
func TestModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		m := &model{bench: newBench(t, nil), kept: map[byte]kept{}, outages: map[byte]time.Time{}, denied: map[byte]time.Time{}}
		defer m.end()
		id := rapid.ByteMax(8)
		rt.Repeat(map[string]func(*rapid.T){
			"load": func(rt *rapid.T) {
				outcome := rapid.SampledFrom([]error{nil, nil, errOutage, errOutage, errDenied, errOther}).Draw(rt, "outcome")
				m.load(rt, id.Draw(rt, "id"), outcome)
			},
			"store": func(rt *rapid.T) {
				id, text := id.Draw(rt, "id"), m.text()
				m.put(id, fmt.Sprint(groupOf(id)), text)
				m.kept[id] = kept{text, m.clock()}
				delete(m.denied, id)
				delete(m.outages, groupOf(id))
			},
			"drop": func(rt *rapid.T) {
				group := groupOf(id.Draw(rt, "id"))
				m.Drop(fmt.Sprint(group))
				m.drop(group)
			},
			"flush": func(*rapid.T) {
				m.Flush()
				clear(m.kept)
				clear(m.outages)
				clear(m.denied)
			},
			"sweep": func(*rapid.T) { m.sweep() },
			"pass": func(rt *rapid.T) {
				m.pass(time.Duration(rapid.Int64Range(1, int64(ttl/2)).Draw(rt, "time")))
			},
		})
	})
}
