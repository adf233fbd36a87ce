package machine

// KeepAhead has the machine keep n names ahead, so that a line of few candidates is a long one to it.
func (m *Machine) KeepAhead(n int) { m.keep = n }
