// The DocC catalog `InteractionLedger.docc` lies beside this file: tutorial, explanation, decisions. SwiftPM asks each target
// for a source file; there is no code here.
