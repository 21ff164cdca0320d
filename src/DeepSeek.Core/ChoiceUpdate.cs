namespace DeepSeek;

/// <summary>One step of one of several answers to the same prompt.</summary>
/// <param name="Choice">Which answer, from 0.</param>
/// <param name="Update">The step.</param>
public readonly record struct ChoiceUpdate(int Choice, GenerationUpdate Update);
