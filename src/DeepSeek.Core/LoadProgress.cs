namespace DeepSeek;

/// <summary>How far a model's loading has come.</summary>
/// <param name="Stage">What is being done, for people: <c>opening</c>, <c>binding weights</c>, <c>ready</c>, …</param>
/// <param name="Fraction">How much of the whole is done: 0 to 1.</param>
public readonly record struct LoadProgress(string Stage, double Fraction);
