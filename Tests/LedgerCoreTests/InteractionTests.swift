// The interaction profile: what is read from `data`, and that other shapes are somebody else's.

import Bytes
import JSON
import LedgerCore
import Testing

private func event(_ data: String) throws -> LoggedEvent {
  let text = #"{"specversion":"1.0","id":"1","source":"/t","type":"t","data":\#(data)}"#
  let event = LoggedEvent()
  let envelope = Envelope(recorded: .earliest, received: .earliest, revision: 0, door: .process, principal: "")
  try event.read(Array(text.utf8).rawSpan, position: 1, envelope: envelope)
  return event
}

private func texts(_ identifiers: [Identifier]) -> [String] { identifiers.map(\.text) }

@Test func `identifiers of one person come distinct, normalised and in byte order`() throws {
  let interaction = Interaction(
    of: try event(#"{"identifiers":{"user_id":42,"email":["B@x.org","a@x.org","b@X.org"],"cookie":1.50,"crm":12e3,"device":null}}"#))
  #expect(interaction.participants.count == 1)
  #expect(
    texts(interaction.participants[0].identifiers) == ["cookie:1.50", "crm:12e3", "email:a@x.org", "email:b@x.org", "user_id:42"])
  #expect(interaction.participants[0].identifiers[3].raw == Array("B@x.org".utf8))
}

@Test func `participants have ordinals, parts, and traits of their own`() throws {
  let read = try event(
    #"{"participants":[7,{"part":"buyer","identifiers":{"email":"a@x.org"},"traits":{"a":1}},{"part":3,"identifiers":[]}],"traits":{"a":2,"b":3}}"#
  )
  let interaction = Interaction(of: read)
  #expect(interaction.participants.map(\.ordinal) == [1, 2])
  #expect(interaction.participants.map { $0.part.map { read.json.string(of: $0) } } == ["buyer", nil])
  let traits = interaction.participants[0].traits.map { trait in
    String(decoding: trait.name, as: UTF8.self) + "=" + read.json.withText(of: trait.value) { String(utf8: $0) }
  }
  #expect(traits == ["a=1", "b=3"])
  #expect(interaction.participants[1].identifiers.isEmpty)
  #expect(interaction.participants[1].traits.isEmpty)
}

@Test(arguments: [
  "{}", "[]", "null", "3", #""text""#, #"{"identifiers":null}"#, #"{"identifiers":["a"]}"#, #"{"identifiers":{"email":{"a":1}}}"#,
  #"{"identifiers":{"email":[["a@x.org"],true,null,{}]}}"#, #"{"participants":{}}"#, #"{"participants":[]}"#, #"{"participants":[1,"a"]}"#,
  #"{"value":7,"cost":"7","case":{},"traits":[]}"#, #"{"value":{"amount":"seven","currency":"EUR"},"cost":{"amount":7}}"#,
  #"{"value":{"amount":7,"currency":7},"cost":{"amount":[7],"currency":"EUR"},"case":""}"#,
  #"{"value":{"amount":1e40,"currency":"EUR"},"cost":{"amount":"1e30","currency":"EUR"}}"#, #"{"identifiers":{"name":"Ana"}}"#,
])
func `fields of other shapes are ignored`(_ data: String) throws {
  let interaction = Interaction(of: try event(data))
  #expect(interaction.participants.count == 1)
  #expect(interaction.participants[0].identifiers.isEmpty)
  #expect(interaction.participants[0].traits.isEmpty)
  #expect(interaction.value == nil)
  #expect(interaction.cost == nil)
  #expect(interaction.case == nil)
}

@Test func `amounts are exact, as numbers and as texts`() throws {
  let read = try event(#"{"value":{"amount":120.10,"currency":"EUR"},"cost":{"amount":"0.07","currency":"USD"},"case":"C-1"}"#)
  let interaction = Interaction(of: read)
  #expect(interaction.value?.value.text == "120.1")
  #expect(interaction.cost?.value.text == "0.07")
  #expect(interaction.cost?.currency == Array("USD".utf8))
  #expect(interaction.case.map { read.json.string(of: $0) } == "C-1")
}

@Test func `an event without data has one participant without identifiers`() throws {
  let text = #"{"specversion":"1.0","id":"1","source":"/t","type":"t"}"#
  let read = LoggedEvent()
  let envelope = Envelope(recorded: .earliest, received: .earliest, revision: 0, door: .process, principal: "")
  try read.read(Array(text.utf8).rawSpan, position: 1, envelope: envelope)
  #expect(Interaction(of: read).participants.count == 1)
}

@Test func `no event brings more identifiers or traits of a person than a fold can take`() throws {
  let values = (0..<4_100).map { "\"v\($0)\"" }.joined(separator: ",")
  let traits = (0..<1_030).map { "\"t\($0)\":1" }.joined(separator: ",")
  let interaction = Interaction(of: try event("{\"identifiers\":{\"cookie\":[\(values)]},\"traits\":{\(traits)}}"))
  #expect(interaction.participants[0].identifiers.count == Interaction.identifierCountMax)
  #expect(interaction.participants[0].traits.count == Interaction.traitCountMax)
}
